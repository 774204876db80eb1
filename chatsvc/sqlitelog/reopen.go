package sqlitelog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"zombiezen.com/go/sqlite"
)

// retryTime is the time between two attempts to open a database that has failed.
// ReadOnlyRetryTime is used while a view serves the messages, because its connections are
// closed for each attempt.
const (
	retryTime         = 200 * time.Millisecond
	readOnlyRetryTime = time.Second
)

// ready returns nil if the database can be written. If the database has failed or its
// files were changed, ready opens it again first. A write-ahead log that another program
// has emptied is harmless: then opening succeeds.
func (w *writer) ready() error {
	if w.broken == nil {
		err := w.files.check()
		if err == nil {
			return nil
		}
		w.log.logger.Warn("the database's files were changed: opening them again", "cause", err)
		w.broken = err
	} else {
		pause := retryTime
		if w.isReadOnly {
			pause = readOnlyRetryTime
		}
		if time.Since(w.triedAt) < pause {
			return w.broken
		}
	}
	w.triedAt = time.Now()
	if err := w.reopen(); err != nil {
		if sqlite.ErrCode(err) != sqlite.ResultError && isUnreadable(err) {
			err = fmt.Errorf("%s cannot be read as a database: put the file back, or restart the server, which copies the files aside and repairs what it can: %w", DatabaseFile, err)
		}
		w.broken = err
		w.log.setDown(err)
		return err
	}
	w.broken = nil
	w.isFull = false
	w.log.setDown(nil)
	return nil
}

// reopen opens a database that has failed again.
func (w *writer) reopen() error {
	is, err := os.Stat(w.log.path)
	if err == nil {
		if err := w.lockAgain(); err != nil {
			return err
		}
	}
	if w.conn == nil {
		w.log.readers.gate.Lock()
		defer w.log.readers.gate.Unlock()
		w.log.readers.closeAll()
		return w.open(false)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", DatabaseFile, errRemoved)
	}
	l := w.log
	l.readers.gate.Lock()
	defer l.readers.gate.Unlock()
	aside := ""
	if errors.Is(w.broken, errHole) {
		if aside, err = copyAside(l.dir, l.system.wall()); err != nil {
			return fmt.Errorf("%w; copy the files aside: %w", w.broken, err)
		}
	}
	if w.files.isSame(is) {
		closeIndex := w.files.forgetIndex()
		l.readers.closeAll()
		_ = w.conn.Close()
		closeIndex()
	} else { // closing it would remove the write-ahead log of the other file
		w.leaked = append(w.leaked, w.conn)
		l.readers.leak()
	}
	w.discard()
	w.files = newWatchedFiles(l.dir)
	ev, hasEvidence, err := readEvidence(l.dir)
	if err != nil {
		return err
	}
	conn, err := w.openDatabase(false)
	if err != nil {
		return err
	}
	w.conn = conn
	ev.Failed = true // a full checkpoint must succeed
	w.aside = aside
	err = w.load(ev, hasEvidence)
	w.aside = ""
	if err != nil {
		if w.conn != nil {
			_ = w.conn.Close() // it failed
		}
		w.discard()
		return err
	}
	return syncDirectory(l.dir) // the write-ahead log is a new file, which SQLite never syncs
}

// lockAgain locks the directory unless this process has locked it already. The directory
// may have been replaced by one that another process uses, or it was not writable before.
func (w *writer) lockAgain() error {
	l := w.log
	if hasDirectory(l.lock, l.dir) {
		return nil
	}
	lock, err := lockDirectory(l.dir)
	if err != nil {
		return err
	}
	_ = l.unlock() // the lock of a directory that was replaced
	l.lock = lock
	return nil
}

// discard drops the connection, and closes the file of the evidence.
func (w *writer) discard() {
	w.conn = nil
	w.files.close()
	if w.evidence != nil {
		_ = w.evidence.close()
		w.evidence = nil
	}
}

// close writes everything to the disk and closes the database.
func (w *writer) close() error {
	l := w.log
	l.readers.gate.Lock()
	defer l.readers.gate.Unlock()
	l.readers.shut()
	if w.copied != "" {
		defer os.RemoveAll(w.copied) //nolint:errcheck // the system removes what is left
	}
	if w.conn == nil {
		return nil
	}
	defer w.discard()
	if w.broken != nil {
		if is, err := os.Stat(l.path); err != nil || !w.files.isSame(is) {
			return nil // closing it would remove files of another database
		}
		return w.conn.Close()
	}
	if w.evidence == nil { // it was never loaded
		return w.conn.Close()
	}
	if w.unsynced {
		if w.sync(); w.broken != nil {
			return errors.Join(w.broken, w.conn.Close())
		}
	}
	// All is on the disk now, at least in the write-ahead log. To empty that is not worth
	// a wait for another process that reads it.
	w.conn.SetBusyTimeout(0)
	err := w.checkpointAll()
	if isBusyError(err) {
		err = nil
	}
	if err == nil {
		e := w.evidenceNow()
		e.Closed = true
		err = errors.Join(w.evidence.write(e), w.evidence.sync())
	}
	return errors.Join(err, w.conn.Close())
}
