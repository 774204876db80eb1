package jetlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// makeDirectory is os.MkdirAll, and sees to it that a power cut does not take
// the directory away again: its name, and that of each one above it that was
// missing too, is on the disk.
func makeDirectory(path string, perm fs.FileMode) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	made := []string{}
	for dir := path; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		made = append(made, dir)
	}
	if err := os.MkdirAll(path, perm); err != nil {
		return err
	}
	for _, dir := range made {
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	return nil
}

// writeDurably writes a file, whole or not at all, whatever happens meanwhile.
func writeDurably(path string, data []byte, perm fs.FileMode) error {
	return replaceFile(path, path+newSuffix, data, perm)
}

// replaceFile is writeDurably by way of the file next.
func replaceFile(path, next string, data []byte, perm fs.FileMode) error {
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, perm) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // else the name could be on the disk before the content
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return err
	}
	return syncPath(filepath.Dir(path))
}

// syncPath writes a directory's entries to the disk, or a file's content. To
// sync a file does not do that for its name (fsync(2), though common file systems
// are kinder).
func syncPath(path string) error {
	d, err := os.Open(path) //nolint:gosec // the operator names the directory
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// syncTree syncs all directories and files from root down.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = syncPath(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the server tidies up
		}
		return err
	})
}

// checkTree fails if there is a file below root that cannot be read and written.
// The NATS server removes a stream that it cannot open.
func checkTree(root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil // it is about to be made
		case err != nil:
			return err
		case path == root && !entry.IsDir():
			return fmt.Errorf("%s is not a directory", path)
		case !entry.Type().IsRegular():
			return nil
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0) //nolint:gosec // the operator names the directory
		if err != nil {
			return err
		}
		return f.Close()
	})
}
