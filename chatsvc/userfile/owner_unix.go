//go:build unix

package userfile

import (
	"os"
	"syscall"
)

// keepOwner gives f the owner of the file that it replaces: root may add a user to
// a file that the server's own account must be able to read.
func keepOwner(f *os.File, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return // it is new
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid)) // only root may, and only for root does it matter
	}
}

// syncDirectory makes a rename last through a power cut, where the system can.
func syncDirectory(path string) {
	if d, err := os.Open(path); err == nil { //nolint:gosec // the directory of the caller's file
		_ = d.Sync()
		_ = d.Close()
	}
}
