//go:build unix

package sqlitelog

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// isReadOnlySystem reports whether err means that the file system is read-only.
func isReadOnlySystem(err error) bool { return errors.Is(err, syscall.EROFS) }

// isNoSpace reports whether err says that the disk or the quota is full, or the file as
// large as it may be.
func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

// access returns an error if this process must not write to the directory, or its file
// system is read-only.
func access(dir string) error { return unix.Access(dir, unix.W_OK) }
