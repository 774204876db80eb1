//go:build !linux

package sqlitelog

import "os"

// syncData writes a file's content to the disk.
func syncData(f *os.File) error { return f.Sync() }
