package bench

import (
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Machine is the machine of a run. The generator and the server share it.
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

// procValue returns the text after a name and a colon in a file of /proc.
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

const (
	// SyncBytes is how much SyncTimes writes at a time.
	SyncBytes = 4 << 10
	// syncRounds is the number of its writes.
	syncRounds = 101
)

// SyncTimes measures the time for a write to a file in dir and its sync. The file has its
// final size before: growing it would take longer, and a server can avoid that.
func SyncTimes(dir string) ([]time.Duration, error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name()) //nolint:errcheck // it is removed with its directory otherwise
	defer file.Close()           //nolint:errcheck // nothing in it is needed
	if _, err := file.Write(make([]byte, syncRounds*SyncBytes)); err != nil {
		return nil, err
	}
	if err := file.Sync(); err != nil {
		return nil, err
	}
	times, block := make([]time.Duration, syncRounds), make([]byte, SyncBytes)
	for i := range times {
		began := time.Now()
		if _, err := file.WriteAt(block, int64(i*SyncBytes)); err != nil {
			return nil, err
		}
		if err := syncData(file); err != nil {
			return nil, err
		}
		times[i] = time.Since(began)
	}
	return times, nil
}

// MedianTime returns the middle one of some times, 0 of none.
func MedianTime(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	return times[len(times)/2]
}
