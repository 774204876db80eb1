//go:build unix && !freebsd && !dragonfly

package bench

import (
	"fmt"
	"syscall"
	"time"
)

// spareFiles is the number of open files that the program needs beside its connections.
const spareFiles = 100

// raiseFiles raises the limit of open files to what connections need.
func raiseFiles(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	need := uint64(connections + spareFiles)
	if limit.Cur >= need {
		return nil
	}
	limit.Cur = need
	limit.Max = max(limit.Max, need) // only root may
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d (see ulimit -Hn): %w", need, err)
	}
	return nil
}

// ownCPU is the time that this process has run.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
