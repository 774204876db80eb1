package sqlitelog

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncData writes a file's content to the disk. Its times need not be there.
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
