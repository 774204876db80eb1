package main

import (
	"os"
	"syscall"
)

// syncData writes a file's content to the disk, and of its metadata only what is
// needed to read it.
func syncData(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
