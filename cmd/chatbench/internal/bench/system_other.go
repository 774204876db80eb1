//go:build !linux

package bench

import (
	"os"
	"time"
)

func pinPacer() func() { return func() {} }

func pause(d time.Duration) { time.Sleep(d) }

// syncData writes a file to the disk.
func syncData(file *os.File) error { return file.Sync() }
