package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"zombiezen.com/go/sqlite"
)

// open opens the database. Only at the start of the process does it make a new one: a
// database that went away while it was open is to be put back.
func (w *writer) open(isStart bool) error {
	mark, hasMark, err := readEvidence(w.log.dir)
	if err != nil {
		return err
	}
	is, err := os.Stat(w.log.path)
	isMissing := errors.Is(err, fs.ErrNotExist)
	isEmpty := isMissing || err == nil && is.Size() == 0
	isAcknowledged := hasMark && mark.Offset > 0
	switch {
	case isEmpty && !isStart:
		return fmt.Errorf("%s: %w", DatabaseFile, errRemoved)
	case isEmpty && isAcknowledged:
		err = errNoTables // SQLite would remove a write-ahead log beside it
	default:
		w.mayRepair = isStart
		err = w.openAndLoad(mark, hasMark, isStart && !isAcknowledged)
		w.mayRepair = false
	}
	switch {
	case err != nil && !isMissing && isUnwritable(err):
		return w.openReadOnly(mark, hasMark, err)
	case err != nil && isStart && isUnreadable(err):
		err = w.recover(err)
	}
	if err != nil {
		return err
	}
	return syncDirectory(w.log.dir)
}

// openAndLoad opens the database, and makes it if it may.
func (w *writer) openAndLoad(mark evidence, hasMark, mayCreate bool) error {
	conn, err := w.openDatabase(mayCreate)
	if err != nil {
		return err
	}
	w.conn = conn
	if err := w.load(mark, hasMark); err != nil {
		if w.conn != nil {
			w.abandon(w.conn, err)
		}
		w.discard()
		return err
	}
	return nil
}

// abandon ends a connection that has failed. One to a database that cannot be read
// stays open: to close it would remove the write-ahead log, and what can still be read
// there.
func (w *writer) abandon(conn *sqlite.Conn, err error) {
	if !isUnreadable(err) {
		_ = conn.Close() // it failed
		return
	}
	is, statErr := os.Stat(w.log.path)
	if statErr == nil && w.abandoned != nil && os.SameFile(w.abandoned, is) {
		_ = conn.Close() // another connection to the file stays open, so this is not the last one
		return
	}
	w.abandoned = is
	w.leaked = append(w.leaked, conn)
}

// errNoTables says that a database lacks everything that was stored in it.
var errNoTables = errors.New("it has no tables: put the file back, or restart the server to begin with a new log")

// openDatabase opens the database for writing. It makes the file, and tables where a
// process was killed before it had made them, if it may.
func (w *writer) openDatabase(mayCreate bool) (*sqlite.Conn, error) {
	if mayCreate { // SQLite would let others read it; its other files get the same mode
		file, err := os.OpenFile(w.log.path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := file.Close(); err != nil {
			return nil, err
		}
	}
	// Not OpenWAL, which would make the file with other settings.
	conn, err := openConn(w.log.path, sqlite.OpenReadWrite, "")
	if err != nil {
		return nil, err
	}
	isNew, err := checkSchema(conn)
	switch {
	case err != nil:
	case isNew && !mayCreate:
		err = errNoTables
	case isNew:
		err = create(conn, newEpoch())
	}
	if err != nil {
		w.abandon(conn, err)
		return nil, err
	}
	// A backup is in another journal mode. The writer syncs the write-ahead log itself.
	// What is removed is overwritten where that
	// writes no page more, so that a redacted message leaves no copy.
	if err := pragma(conn, "PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "PRAGMA secure_delete = FAST", "PRAGMA synchronous = NORMAL"); err != nil {
		w.abandon(conn, err)
		return nil, err
	}
	if isNew { // a write-ahead log that is lost must not take the tables with it
		if err := pragma(conn, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			w.abandon(conn, err)
			return nil, err
		}
	}
	return conn, nil
}

// isUnwritable reports whether err says that nothing can be written now.
func isUnwritable(err error) bool {
	if isReadOnly(err) || isNoSpace(err) {
		return true
	}
	switch code := sqlite.ErrCode(err); code.ToPrimary() {
	case sqlite.ResultReadOnly, sqlite.ResultCantOpen, sqlite.ResultFull:
		return true
	case sqlite.ResultIOErr:
		return code == sqlite.ResultIOErrSHMSize || code == sqlite.ResultIOErrSHMOpen || code == sqlite.ResultIOErrWrite || code == sqlite.ResultIOErrTruncate
	default:
		return false
	}
}

// isUnreadable reports whether err says that the file cannot be read as a database.
func isUnreadable(err error) bool {
	if errors.Is(err, errNoTables) || errors.Is(err, errNoSchema) {
		return true
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB, sqlite.ResultCorrupt:
		return true
	default:
		return false
	}
}

// recover repairs a database that cannot be read as a whole, and opens it. If nothing
// can be read of it, a new one begins in another epoch.
func (w *writer) recover(cause error) error {
	r := repair{dir: w.log.dir}
	err := r.run(context.Background())
	if r.build != nil {
		err = errors.Join(err, r.build.abort())
	}
	if err == nil {
		w.log.logger.Error("the database was damaged: it was repaired, and the files are kept as they were",
			"error", cause, "aside", r.done.Aside, "messages", r.done.Messages, "missing", r.done.Missing, "was", r.done.Was, "is", r.done.Epoch)
	} else if err = w.startOver(errors.Join(cause, err)); err != nil {
		return err
	}
	mark, hasMark, err := readEvidence(w.log.dir)
	if err != nil {
		return err
	}
	return w.openAndLoad(mark, hasMark, true)
}

// startOver puts a database of which nothing can be read aside.
func (w *writer) startOver(cause error) error {
	aside, err := copyAside(w.log.dir, w.log.system.wall())
	if err != nil {
		return errors.Join(cause, err)
	}
	w.log.logger.Error("the database cannot be read: it was put aside, and a new one begins in another epoch",
		"error", cause, "aside", aside, "command", "simplechat log repair --data "+aside)
	for _, path := range []string{w.log.path, w.log.path + walSuffix, w.log.path + shmSuffix} {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
