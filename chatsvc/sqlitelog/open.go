package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"zombiezen.com/go/sqlite"
)

// retryTime is the time between two tries to open a database that has failed.
// It is longer while messages are served by a view, whose connections are closed for
// it.
const (
	retryTime         = 200 * time.Millisecond
	readOnlyRetryTime = time.Second
)

// ready returns nil if the database can be written, after it was opened again where
// it has failed or its files were changed. Another program may have emptied the
// write-ahead log, which is no harm: opening it again tells.
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
		w.broken = err
		w.log.setDown(err)
		return err
	}
	w.broken = nil
	w.isFull = false
	w.log.setDown(nil)
	return nil
}

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
		err = w.openAndLoad(mark, hasMark, isStart && !isAcknowledged)
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
	if isUnreadable(err) {
		w.leaked = append(w.leaked, conn)
		return
	}
	_ = conn.Close() // it failed
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
	mode := "FULL"
	if w.log.interval > 0 {
		mode = "NORMAL"
	}
	// A backup is in another journal mode. What is removed is overwritten where that
	// writes no page more, so that a redacted message leaves no copy.
	if err := pragma(conn, "PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "PRAGMA secure_delete = FAST", "PRAGMA synchronous = "+mode); err != nil {
		w.abandon(conn, err)
		return nil, err
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

// load reads what the writer must know of the database, and compares that with the
// evidence. Whatever contradicts it gets another epoch.
func (w *writer) load(mark evidence, hasMark bool) error {
	if err := w.readEnd(mark, hasMark); err != nil {
		return err
	}
	loss, err := w.loss(mark, hasMark)
	if err != nil {
		return err
	}
	aside := ""
	if loss != nil && w.next > 1 {
		if aside, err = w.copyAside(); err != nil {
			return fmt.Errorf("%w; copy the files aside: %w", loss, err)
		}
	}
	if mark.Failed {
		if err := w.checkpointAll(); err != nil {
			return fmt.Errorf("write what an earlier process could not sync: %w", err)
		}
	}
	if w.evidence, err = openEvidence(w.log.dir, mark); err != nil {
		return err
	}
	if loss != nil {
		if err := w.newEpoch(loss, aside); err != nil {
			return err
		}
	}
	if err := w.evidence.write(w.evidenceNow()); err != nil {
		return err
	}
	if err := w.evidence.sync(); err != nil {
		return err
	}
	if err := w.files.begin(); err != nil {
		return err
	}
	w.isReadOnly = false
	return w.show(nil, func() (*sqlite.Conn, error) {
		return openConn(w.log.path, sqlite.OpenReadOnly, "")
	})
}

// readEnd reads the epochs, the end and the keys.
func (w *writer) readEnd(mark evidence, hasMark bool) error {
	var err error
	if w.epochs, err = readEpochs(w.conn); err != nil {
		return err
	}
	last, found, err := lastRow(w.conn)
	if err != nil {
		return err
	}
	w.next, w.total, w.last, w.stored = 1, 0, 0, 0
	if found {
		w.next, w.total, w.last, w.stored = last.offset+1, last.total, last.checksum, last.stored
	}
	// An empty log that had records continues behind them.
	if from := w.epochs[len(w.epochs)-1].from; w.next < from {
		w.next = from
	}
	if hasMark && !found && mark.Epoch == w.epochs[len(w.epochs)-1].epoch && mark.Closed {
		w.next = max(w.next, mark.Offset+1) // all were removed by age
		w.last = mark.Checksum
	}
	if w.keys, err = readKeys(w.conn); err != nil {
		return err
	}
	w.clock = newClock(w.log.system, mark.Clock, w.stored)
	return w.findEdges()
}

// lastRow returns the last row.
func lastRow(conn *sqlite.Conn) (edgeLast, bool, error) {
	stmt, err := conn.Prepare(`SELECT "offset", stored, total, checksum FROM messages ORDER BY "offset" DESC LIMIT 1`)
	if err != nil {
		return edgeLast{}, false, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	more, err := stmt.Step()
	if err != nil || !more {
		return edgeLast{}, false, err
	}
	return edgeLast{uint64(stmt.ColumnInt64(0)), stmt.ColumnInt64(1), stmt.ColumnInt64(2), stmt.ColumnInt64(3)}, true, nil
}

// edgeLast is what the end needs of the last row.
type edgeLast struct {
	offset        uint64
	stored, total int64
	checksum      int64
}

// findEdges finds the oldest records that are reported and stored.
func (w *writer) findEdges() error {
	lowest, found, err := queryInt(w.conn, `SELECT min("offset") FROM messages`)
	if err != nil {
		return err
	}
	if !found || lowest == 0 {
		lowest = int64(w.next)
	}
	w.floor = edge{retention: w.log.retention.Stored(), offset: uint64(lowest)}
	before, _, err := totalBefore(w.conn, w.floor.offset)
	if err != nil {
		return err
	}
	w.floor.before = before
	w.first = edge{retention: w.log.retention, offset: w.floor.offset, before: before}
	return w.first.jump(w.conn, end{w.next, w.total, max(w.clock.now(), w.stored)})
}

// loss returns what says that acknowledged records are missing, nil if nothing does.
func (w *writer) loss(mark evidence, hasMark bool) (error, error) {
	if !hasMark {
		if w.next == 1 {
			return nil, nil //nolint:nilnil // nothing is missing, and nothing has failed
		}
		return fmt.Errorf("there is no file %q beside it, or none that can be read: it may be a copy", evidenceFile), nil
	}
	checksum, found, err := queryInt(w.conn, `SELECT checksum FROM messages WHERE "offset" = ?`, int64(mark.Offset))
	if err != nil {
		return nil, err
	}
	redacted, isRedacted, err := queryInt(w.conn, `SELECT time FROM redactions WHERE "offset" = ?`, int64(mark.Offset))
	_ = redacted
	if err != nil {
		return nil, err
	}
	return mark.contradicts(w.epochs[len(w.epochs)-1].epoch, w.next-1, checksum, found && !isRedacted, w.log.system.boot()), nil
}

// copyAside copies the files aside before anything changes them, and opens the
// database again: where locks belong to the process, the copy has taken SQLite's away
// (https://www.sqlite.org/howtocorrupt.html, 2.2).
func (w *writer) copyAside() (string, error) {
	aside, err := copyAside(w.log.dir, w.log.system.wall())
	if err != nil {
		return "", err
	}
	err = w.conn.Close()
	w.conn = nil
	if err != nil {
		return "", err
	}
	w.conn, err = w.openDatabase(false)
	return aside, err
}

// newEpoch begins an epoch, as acknowledged records are missing. What is there was
// copied to aside, if there was anything.
func (w *writer) newEpoch(cause error, aside string) error {
	e := epochStart{w.next, newEpoch()}
	if err := addEpoch(w.conn, e); err != nil {
		return err
	}
	epochs, err := readEpochs(w.conn)
	if err != nil {
		return err
	}
	was := w.epochs[len(w.epochs)-1].epoch
	w.epochs = epochs
	w.log.logger.Error("acknowledged messages are missing: the log gets another epoch", "error", cause,
		"was", was, "is", e.epoch, "next", w.next, "aside", aside, "command", "simplechat log repair --data "+aside)
	return nil
}

// show makes what was loaded the log's state, which reads with connections that open
// returns. Down is why nothing can be stored.
func (w *writer) show(down error, open func() (*sqlite.Conn, error)) error {
	redacted, err := readRedactions(w.conn)
	if err != nil {
		return err
	}
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epochs = w.epochs
	l.next, l.first, l.floor = w.next, w.first.offset, w.floor.offset
	l.recent.reset()
	l.redacted = redacted
	l.down = down
	l.announce()
	return l.readers.reopen(open)
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
	if w.files.isSame(is) {
		l.readers.closeAll()
		_ = w.conn.Close()
	} else { // to close it would remove the write-ahead log of the other file
		w.leaked = append(w.leaked, w.conn)
		l.readers.leak()
	}
	w.discard()
	w.files = newWatchedFiles(l.dir)
	mark, hasMark, err := readEvidence(l.dir)
	if err != nil {
		return err
	}
	conn, err := w.openDatabase(false)
	if err != nil {
		return err
	}
	w.conn = conn
	mark.Failed = true // a full checkpoint must succeed
	if err := w.load(mark, hasMark); err != nil {
		if w.conn != nil {
			_ = w.conn.Close() // it failed
		}
		w.discard()
		return err
	}
	return nil
}

// lockAgain locks the directory unless the lock is that of the one at the path: it may
// have been replaced by a directory that another process has, or not have been writable.
func (w *writer) lockAgain() error {
	l := w.log
	if hasDirectory(l.lock, l.dir) {
		return nil
	}
	lock, err := lockDirectory(l.dir)
	if err != nil {
		return err
	}
	_ = l.unlock() // it is that of a directory that is not there any longer
	l.lock = lock
	return nil
}

// discard forgets the connection and the evidence's file.
func (w *writer) discard() {
	w.conn = nil
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
	l.readers.closeAll()
	if w.copied != "" {
		defer os.RemoveAll(w.copied) //nolint:errcheck // the system removes what is left
	}
	if w.conn == nil {
		return nil
	}
	defer w.discard()
	if w.broken != nil {
		if is, err := os.Stat(l.path); err != nil || !w.files.isSame(is) {
			return nil // to close it would remove files that are not its own
		}
		return w.conn.Close()
	}
	if w.evidence == nil { // it was never loaded
		return w.conn.Close()
	}
	err := w.checkpointAll()
	if err == nil {
		e := w.evidenceNow()
		e.Closed = true
		err = errors.Join(w.evidence.write(e), w.evidence.sync())
	}
	return errors.Join(err, w.conn.Close())
}
