package sqlitelog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// copyAside copies the database's files into a new directory in dir before
// they are changed, and returns its path.
func copyAside(dir string, now time.Time) (_ string, err error) {
	aside, err := os.MkdirTemp(dir, "damaged-"+now.UTC().Format("20060102T150405")+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil { // the caller will try again
			_ = os.RemoveAll(aside)
		}
	}()
	for _, name := range []string{DatabaseFile, DatabaseFile + walSuffix, evidenceFile} {
		if err := copyFile(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return aside, nil
}

// copyFile copies a file and syncs the copy.
func copyFile(from, to string) (err error) {
	src, err := os.Open(from) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	defer src.Close()                                                     //nolint:errcheck // it was only read
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	if _, err := io.Copy(dst, src); err != nil {
		return err
	}
	return dst.Sync()
}

// keepFiles keeps the files of a directory's database in a new directory, aside.
func keepFiles(dir, aside string) error {
	if err := os.Mkdir(aside, 0o700); err != nil {
		return err
	}
	for _, name := range []string{DatabaseFile, DatabaseFile + walSuffix, evidenceFile} {
		from, to := filepath.Join(dir, name), filepath.Join(aside, name)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if os.Link(from, to) == nil {
			continue
		}
		if err := copyFile(from, to); err != nil { // a file system without links
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return errors.Join(syncDirectory(aside), syncDirectory(dir))
}
