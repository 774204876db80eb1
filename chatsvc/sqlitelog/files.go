package sqlitelog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

const (
	// lockFile is locked while a process has the directory. The system releases the
	// lock of a process that crashed.
	lockFile = "lock"
	// jetStreamDir is where an unreleased version kept messages.
	jetStreamDir = "jetstream"
)

// ErrInUse is what errors of [Open] are, by [errors.Is], if another process has the
// directory.
var ErrInUse = errors.New("another process uses it: stop that one, or give this one a directory of its own")

// lockDirectory makes this process the only one that has dir. It returns nil where
// nothing can be written: then nobody can.
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

// hasDirectory reports whether the lock is that of dir. Another directory may be in its
// place by now, which another process may have.
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

// isReadOnly reports whether err says that nothing may be written.
func isReadOnly(err error) bool { return errors.Is(err, fs.ErrPermission) || isReadOnlySystem(err) }

// refuseJetStream fails if dir has the format of an unreleased version.
func refuseJetStream(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, jetStreamDir)); err == nil {
		return errors.New("it holds messages of an unreleased version, which kept them in JetStream's format: give another directory")
	}
	return nil
}

// watchedFiles are the database's files as they were when they were opened. Whoever
// removes, replaces or cuts them does not disturb SQLite, which would acknowledge
// what nobody finds again.
type watchedFiles struct {
	database, wal         string
	databaseWas, walWas   os.FileInfo // nil before the file was seen
	databaseSize, walSize int64       // the least that they must have
	walFile               *os.File    // the write-ahead log, to sync it; nil before it is needed
	proof                 walProof
}

func newWatchedFiles(dir string) *watchedFiles {
	path := filepath.Join(dir, DatabaseFile)
	return &watchedFiles{database: path, wal: path + walSuffix}
}

// check fails if a file is not the one that it was, or is shorter.
func (w *watchedFiles) check() error {
	var err error
	if w.databaseWas, w.databaseSize, err = checkFile(w.database, w.databaseWas, w.databaseSize); err != nil {
		return err
	}
	was, size, err := checkFile(w.wal, w.walWas, w.walSize)
	if w.walWas == nil && errors.Is(err, errRemoved) {
		return nil // nothing was written to it yet
	}
	w.walWas, w.walSize = was, size
	return err
}

// begin notes the database's file; the write-ahead log comes with the first
// transaction.
func (w *watchedFiles) begin() error {
	var err error
	w.databaseWas, w.databaseSize, err = checkFile(w.database, nil, 0)
	return err
}

// openWAL returns the write-ahead log's file, to be synced. It stays open until close.
func (w *watchedFiles) openWAL() (*os.File, error) {
	if w.walFile != nil {
		return w.walFile, nil
	}
	file, err := os.OpenFile(w.wal, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w.walFile = file
	return file, nil
}

// prove fails unless what was committed last is in the write-ahead log.
func (w *watchedFiles) prove() error {
	wal, err := w.openWAL()
	if err != nil {
		return err
	}
	if err := w.proof.next(wal); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(w.wal), err)
	}
	return nil
}

// close closes the write-ahead log's file.
func (w *watchedFiles) close() {
	w.proof = walProof{}
	if w.walFile != nil {
		_ = w.walFile.Close() // it was only synced
		w.walFile = nil
	}
}

// indexBytes is the length of the two headers of the write-ahead log's index
// (https://www.sqlite.org/walformat.html, section 2.1).
const indexBytes = 96

// forgetIndex makes SQLite read the write-ahead log from the file when it is used next,
// which is when the database is closed: what the index says of a file that was cut
// would make it copy the hole into the database. The caller calls done when no
// connection is open any more: where locks belong to the process, closing a file takes
// SQLite's away.
func (w *watchedFiles) forgetIndex() (done func()) {
	file, err := os.OpenFile(w.database+shmSuffix, os.O_WRONLY, 0)
	if err != nil {
		return func() {} // without an index SQLite makes a new one
	}
	_, _ = file.WriteAt(make([]byte, indexBytes), 0) // if it fails, only what was cut is lost
	return func() { _ = file.Close() }
}

// isSame reports whether f is the database's file as it was opened.
func (w *watchedFiles) isSame(f os.FileInfo) bool {
	return w.databaseWas == nil || os.SameFile(w.databaseWas, f)
}

// largest returns the size of the larger file in bytes.
func (w *watchedFiles) largest() int64 {
	size := int64(0)
	for _, path := range []string{w.database, w.wal} {
		if is, err := os.Stat(path); err == nil {
			size = max(size, is.Size())
		}
	}
	return size
}

// forgetSizes allows the files to shrink once, after a checkpoint.
func (w *watchedFiles) forgetSizes() { w.databaseSize, w.walSize = 0, 0 }

// errRemoved says that a file is not where it was.
var errRemoved = errors.New("it was removed, or its directory was: put it back, or restart the server to begin with a new log")

func checkFile(path string, was os.FileInfo, size int64) (os.FileInfo, int64, error) {
	is, err := os.Stat(path)
	name := filepath.Base(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return was, size, fmt.Errorf("%s: %w", name, errRemoved)
	case err != nil:
		return was, size, err
	case was != nil && !os.SameFile(was, is):
		return was, size, fmt.Errorf("%s was replaced by another file: put it back, or restart the server", name)
	case is.Size() < size:
		return was, size, fmt.Errorf("%s has %d bytes and had %d: %w", name, is.Size(), size, errHole)
	}
	return is, is.Size(), nil
}

// copyAside copies the database's files into a directory of their own in dir, before
// anything changes them, and returns its path.
func copyAside(dir string, now time.Time) (_ string, err error) {
	aside, err := os.MkdirTemp(dir, "damaged-"+now.UTC().Format("20060102T150405")+"-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil { // it is tried again
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

// makeDirectory makes a directory if it is missing, with its parents, and makes their
// names durable. An earlier process may have been killed before it did, so the
// directory's own name is synced in any case.
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
	if err := syncDirectory(parent); err != nil && !isReadOnly(err) { // it may belong to somebody else
		return err
	}
	return nil
}

// syncDirectory makes the names in a directory durable. Windows has no such call: it
// writes them down with the file.
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
