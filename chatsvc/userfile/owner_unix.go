//go:build unix

package userfile

import (
	"os"
	"syscall"
)

// keepOwner gives f the owner of the file that it replaces: if root adds a user, the
// server's account must still be able to read the file.
func keepOwner(f *os.File, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // the file is new
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid)) // only root may, and only for root does it matter
	}
}

// syncDirectory makes a rename durable, if the system supports that.
func syncDirectory(path string) {
	if d, err := os.Open(path); err == nil { //nolint:gosec // the directory of the caller's file
		_ = d.Sync()
		_ = d.Close()
	}
}
