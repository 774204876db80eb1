package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Process is the server's process. Its resources are read from /proc.
type Process struct{ PID int }

// tick is the unit of times in /proc/PID/stat: Linux gives user space 100 a
// second on every architecture that Go knows.
const tick = 10 * time.Millisecond

var errProc = errors.New("it is not as proc(5) has it")

// cpu returns the time that the process has run.
func (p Process) cpu() (time.Duration, error) {
	name := fmt.Sprintf("/proc/%d/stat", p.PID)
	b, err := os.ReadFile(name) //nolint:gosec // a file of /proc
	if err != nil {
		return 0, err
	}
	// The program's name, in parentheses, may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("%s: %w", name, errProc)
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	system, err2 := strconv.ParseInt(fields[stime], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	return time.Duration(user+system) * tick, nil
}

// Resident returns the bytes of memory that the process has.
func (p Process) Resident() (int64, error) {
	// smaps_rollup is exact, status lags behind by some pages for each thread.
	if n, err := p.kilobytes("smaps_rollup", "Rss:"); err == nil {
		return n, nil
	}
	return p.kilobytes("status", "VmRSS:")
}

// peak returns the largest resident memory since resetPeak.
func (p Process) peak() (int64, error) { return p.kilobytes("status", "VmHWM:") }

// resetPeak resets the largest resident memory (proc(5), clear_refs).
func (p Process) resetPeak() error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.PID), []byte("5"), 0o200)
}

// kilobytes returns the value in bytes of a line "Key:   123 kB".
func (p Process) kilobytes(file, key string) (int64, error) {
	name := fmt.Sprintf("/proc/%d/%s", p.PID, file)
	b, err := os.ReadFile(name) //nolint:gosec // a file of /proc
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == key {
			n, err := strconv.ParseInt(fields[1], 10, 64)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("%s: no %s: %w", name, key, errProc)
}
