package sqlitelog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData writes a file's content to the disk, without the times of the file.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
