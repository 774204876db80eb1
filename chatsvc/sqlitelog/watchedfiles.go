package sqlitelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// watchedFiles are the database's files as they were when they were opened. SQLite does
// not notice if they are removed, replaced or cut: it would store messages that are lost at
// the next start.
type watchedFiles struct {
	database, wal         string
	databaseWas, walWas   os.FileInfo // nil before the file was seen
	databaseSize, walSize int64       // the smallest sizes that they may have
	walFile               *os.File    // the write-ahead log, to sync it; nil before it is needed
	proof                 walProof
}

func newWatchedFiles(dir string) *watchedFiles {
	path := filepath.Join(dir, DatabaseFile)
	return &watchedFiles{database: path, wal: path + walSuffix}
}

// check fails if a file was replaced or has become shorter.
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

// begin notes the database's file. The write-ahead log is created by the first
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

// prove fails unless the last commit is in the write-ahead log.
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

// forgetIndex makes SQLite read the write-ahead log from the file the next time, which is
// when the database is closed: with the index of a file that was cut, SQLite would copy
// the hole into the database. The caller calls done when all connections are closed: on
// systems where locks belong to the process, closing the file releases SQLite's locks.
func (w *watchedFiles) forgetIndex() (done func()) {
	file, err := os.OpenFile(w.database+shmSuffix, os.O_WRONLY, 0)
	if err != nil {
		return func() {} // without an index SQLite makes a new one
	}
	_, _ = file.WriteAt(make([]byte, indexBytes), 0) // if it fails, only the part that was cut is lost
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
var errRemoved = errors.New("it or its directory was removed: put it back, or restart the server to begin with a new log")

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
