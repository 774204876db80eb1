package sqlitelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"zombiezen.com/go/sqlite"
)

// view is one way to read a database that cannot be written.
type view struct {
	name string
	open func() (*sqlite.Conn, error)
}

// views returns the ways, the best one first. To read a write-ahead log, SQLite needs the
// file -shm, or room and permission to create it
// (https://www.sqlite.org/wal.html, "Read-Only Databases").
func (w *writer) views() []view {
	path := w.log.path
	return []view{
		{"as it is", func() (*sqlite.Conn, error) { return openConn(path, sqlite.OpenReadOnly, "") }},
		{"without shared memory", func() (*sqlite.Conn, error) { return openConn(path, sqlite.OpenReadWrite, "vfs=unix-excl") }},
		{"without a write-ahead log", func() (*sqlite.Conn, error) {
			if wal, err := os.Stat(path + walSuffix); err == nil && wal.Size() > 0 {
				return nil, errors.New("it has one")
			}
			return openConn(path, sqlite.OpenReadOnly, "immutable=1")
		}},
		{"as a copy", w.openCopy},
	}
}

// openCopy opens a copy in a temporary directory, which is removed with the log.
func (w *writer) openCopy() (*sqlite.Conn, error) {
	if w.copied == "" {
		dir, err := os.MkdirTemp("", "simplechat-")
		if err != nil {
			return nil, err
		}
		for _, name := range []string{DatabaseFile, DatabaseFile + walSuffix} {
			if err := copyFile(filepath.Join(w.log.dir, name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, errors.Join(err, os.RemoveAll(dir))
			}
		}
		w.copied = dir
	}
	return openConn(filepath.Join(w.copied, DatabaseFile), sqlite.OpenReadWrite, "")
}

// openReadOnly serves the existing messages while nothing can be written, for the reason
// cause. The writer regularly tries to open the database for writing.
func (w *writer) openReadOnly(ev evidence, hasEvidence bool, cause error) error {
	cause = addReason(cause, w.log.dir)
	w.broken = cause
	if w.isReadOnly { // it is served already
		return cause
	}
	reasons := []error{cause}
	for _, v := range w.views() {
		err := w.tryView(v, ev, hasEvidence, cause)
		if err == nil {
			w.isReadOnly = true
			w.log.logger.Warn("the database cannot be written: its messages are served, and none can be sent", "error", cause, "opened", v.name)
			return nil
		}
		reasons = append(reasons, fmt.Errorf("%s: %w", v.name, err))
	}
	return errors.Join(reasons...)
}

// addReason adds to the cause what SQLite does not say: that the disk is full, or that the
// directory is read-only, where SQLite only says that it cannot open a file.
func addReason(cause error, dir string) error {
	if isReadOnly(cause) {
		return cause
	}
	if sqlite.ErrCode(cause) == sqlite.ResultIOErrSHMSize {
		return fmt.Errorf("the disk is full: %w", cause)
	}
	if err := access(dir); isReadOnly(err) {
		return fmt.Errorf("the directory cannot be written: %w: %w", err, cause)
	}
	return cause
}

// tryView loads the log's state by a view.
func (w *writer) tryView(v view, ev evidence, hasEvidence bool, cause error) error {
	conn, err := v.open()
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it only read
	if isNew, err := checkSchema(conn); err != nil || isNew {
		return errors.Join(err, errors.New("it holds no log"))
	}
	w.conn = conn
	defer func() { w.conn = nil }()
	if err := w.readEnd(ev, hasEvidence); err != nil {
		return err
	}
	loss, err := w.loss(ev, hasEvidence)
	if err != nil {
		return err
	}
	if loss != nil { // the epoch cannot be stored: each start has another one
		e := epochStart{w.next, newEpoch()}
		w.log.logger.Error("acknowledged messages are missing: the log has another epoch until it can be written", "error", loss, "is", e.epoch)
		w.epochs = append(w.epochs, e)
	}
	return w.show(cause, v.open)
}
