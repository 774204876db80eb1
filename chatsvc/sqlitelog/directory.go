package sqlitelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/gofrs/flock"
)

const (
	// lockFile is locked while a process uses the directory. The system releases the
	// lock of a process that crashed.
	lockFile = "lock"
	// jetStreamDir is the directory in which an unreleased version kept messages.
	jetStreamDir = "jetstream"
)

// ErrInUse is wrapped by the error of [Open] if another process uses the directory.
var ErrInUse = errors.New("another process uses it: stop that process, or give this one another directory")

// lockDirectory makes this process the only one that uses dir. It returns nil if
// nothing can be written there; then no process can write.
func lockDirectory(dir string) (*flock.Flock, error) {
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	switch {
	case isReadOnly(err):
		return nil, nil //nolint:nilnil // there is nothing to lock
	case err != nil:
		return nil, fmt.Errorf("lock: %w", err)
	case !locked:
		return nil, ErrInUse
	}
	return lock, nil
}

// hasDirectory reports whether the lock is in dir. Dir may have been replaced by another
// directory, which another process may use.
func hasDirectory(lock *flock.Flock, dir string) bool {
	if lock == nil {
		return false
	}
	was, err := lock.Stat()
	if err != nil {
		return false
	}
	is, err := os.Stat(filepath.Join(dir, lockFile))
	return err == nil && os.SameFile(was, is)
}

// isReadOnly reports whether err means that writing is not allowed.
func isReadOnly(err error) bool { return errors.Is(err, fs.ErrPermission) || isReadOnlySystem(err) }

// refuseJetStream fails if dir has the format of an unreleased version.
func refuseJetStream(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, jetStreamDir)); err == nil {
		return errors.New("it holds messages of an unreleased version, which kept them in JetStream's format: give another directory")
	}
	return nil
}

// makeDirectory creates a directory and its parents if they are missing, and makes their
// names durable. An earlier process may have been killed before it did that, so the
// directory's own name is always synced.
func makeDirectory(dir string) error {
	parent := filepath.Dir(dir)
	_, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDirectory(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDirectory(parent); err != nil && !isReadOnly(err) { // the parent may belong to another user
		return err
	}
	return nil
}

// syncDirectory makes the names in a directory durable. Windows has no such call: it
// writes a name together with its file.
func syncDirectory(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir) //nolint:gosec // the path is the operator's
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // it was only synced
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}
