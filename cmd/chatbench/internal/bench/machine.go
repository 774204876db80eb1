package bench

import (
	"os"
	"runtime"
	"strconv"
	"strings"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Machine is where a run took place. The generator and the server share it.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
	OS     string `json:"os"`
	Go     string `json:"go"`
}

// ThisMachine describes the machine on which this program runs.
func ThisMachine() Machine {
	m := Machine{Cores: runtime.NumCPU(), OS: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	// Where there is no /proc, the report does without.
	m.CPU = procValue("/proc/cpuinfo", "model name")
	if kB, err := strconv.ParseInt(strings.TrimSuffix(procValue("/proc/meminfo", "MemTotal"), " kB"), 10, 64); err == nil {
		m.Memory = human.Bytes(float64(kB << 10))
	}
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = strings.TrimSpace(string(b))
	}
	return m
}

// procValue returns what stands behind a name and a colon in a file of /proc.
func procValue(file, name string) string {
	b, err := os.ReadFile(file) //nolint:gosec // a file of /proc
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
