package sqlitelog

import (
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

const (
	// checkpointBytes is the size of the write-ahead log from which the writer copies
	// it into the database, after it has acknowledged.
	checkpointBytes = 4 << 20
	// restartBytes is the size from which readers are kept out for a moment, so that
	// the write-ahead log begins from its start again.
	restartBytes = 8 << 20
	// pinnedBytes is the size from which it is logged that another process holds the
	// write-ahead log.
	pinnedBytes = 16 << 20
	// pinnedTime is the time between two such log lines.
	pinnedTime = time.Minute
	// scrubEvery is the time between two tries to remove what was redacted from the
	// write-ahead log.
	scrubEvery = time.Second
	// noteTime is how often the evidence is synced.
	noteTime = time.Second
)

// maintenance is what the writer knows of the state of the database's files.
type maintenance struct {
	walBytes    int64 // about how much of the write-ahead log is in use
	dataVersion int64 // grows when another process has changed the database
	warnedAt    time.Time
	lookedAt    time.Time
	scrubbedAt  time.Time
	isRedacted  bool // the write-ahead log may still have messages that were redacted
}

// grow counts what a transaction has added to the write-ahead log: the pages of its
// rows, and some that each transaction changes.
func (m *maintenance) grow(t *transaction) {
	pages := 3 + len(t.entries)/64
	for _, e := range t.entries {
		m.walBytes += int64(len(e.Record)) + 64
	}
	if len(t.keys) > 0 {
		pages += 2 + len(t.keys)/128
	}
	if t.isTrimmed {
		pages += 4
	}
	m.walBytes += int64(pages) * pageSize
}

// maintain does what is due between transactions.
func (w *writer) maintain() {
	if w.conn == nil || w.broken != nil {
		_ = w.ready() // it notes why not
		return
	}
	if w.walBytes >= checkpointBytes {
		w.checkpoint()
	}
	now := time.Now()
	if w.log.interval > 0 && w.unsynced && now.Sub(w.syncedAt) >= w.log.interval {
		w.sync()
	}
	if w.noted && now.Sub(w.notedAt) >= noteTime {
		w.notedAt, w.noted = now, false
		if err := w.evidence.sync(); err != nil {
			w.fail(err)
			return
		}
	}
	if now.Sub(w.lookedAt) >= tickTime {
		w.lookedAt = now
		w.look()
	}
}

// look does what is due while nobody sends, and finds out what others have done.
func (w *writer) look() {
	if w.broken != nil || w.ready() != nil {
		return
	}
	if err := errors.Join(w.readChanges(), w.scrub()); err != nil {
		w.fail(err)
		return
	}
	t := w.begin()
	to := end{t.next, t.total, t.now}
	first, floor := t.first, t.floor
	errFirst := first.advance(w.conn, to, 1<<30)
	errFloor := floor.advance(w.conn, to, 1)
	if errFirst != nil || errFloor != nil {
		return // the next transaction tells
	}
	if !w.isFull && first.offset == t.first.offset && floor.offset == t.floor.offset && w.keys.expired(t.now, 1) == 0 {
		return
	}
	change := func() error { return nil }
	if w.isFull { // find out whether there is room again
		change = func() error { return w.exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)) }
	}
	isCommitted, err := w.transact(t, change)
	switch {
	case err == nil:
		w.launch(&flight{transaction: t}) // it lands here, as nobody waits
	case isCommitted:
		w.fail(err)
	default:
		_ = w.refused(err)
	}
}

// readChanges takes in what another process has changed: redactions.
func (w *writer) readChanges() error {
	version, _, err := w.pragmaInt("PRAGMA data_version")
	if err != nil || version == w.dataVersion {
		return err
	}
	w.dataVersion = version
	redacted, err := readRedactions(w.conn)
	if err != nil {
		return err
	}
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(redacted) == len(l.redacted) {
		return nil
	}
	l.redacted = redacted
	l.recent.reset()
	l.announce()
	w.isRedacted = true
	return nil
}

// scrub removes what was redacted from the write-ahead log. If another process reads
// it, the next look tries again.
func (w *writer) scrub() error {
	if !w.isRedacted {
		return nil
	}
	if time.Since(w.scrubbedAt) < scrubEvery {
		return nil
	}
	w.scrubbedAt = time.Now()
	w.log.readers.gate.Lock()
	defer w.log.readers.gate.Unlock()
	w.conn.SetBusyTimeout(0) // senders would wait for the other process
	err := w.checkpointAll()
	w.conn.SetBusyTimeout(busyTime)
	w.isRedacted = isBusyError(err)
	if w.isRedacted {
		return nil
	}
	return err
}

// readRedactions returns the offsets that were redacted.
func readRedactions(conn *sqlite.Conn) (map[uint64]struct{}, error) {
	redacted := make(map[uint64]struct{})
	err := sqlitex.ExecuteTransient(conn, `SELECT "offset" FROM redactions`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			redacted[uint64(stmt.ColumnInt64(0))] = struct{}{}
			return nil
		},
	})
	return redacted, err
}

func (w *writer) pragmaInt(text string) (int64, bool, error) {
	stmt, err := w.conn.Prepare(text)
	if err != nil {
		return 0, false, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	more, err := stmt.Step()
	if err != nil || !more {
		return 0, false, err
	}
	return stmt.ColumnInt64(0), true, nil
}

// checkpoint copies the write-ahead log into the database.
func (w *writer) checkpoint() {
	frames, copied, err := w.runCheckpoint("PASSIVE")
	err = w.explain(err)
	if isFullError(err) {
		w.walBytes = checkpointBytes / 2 // try again soon: what it is about stays in the write-ahead log
		return
	}
	if err != nil {
		w.fail(fmt.Errorf("checkpoint: %w", err))
		return
	}
	w.files.forgetSizes()
	w.walBytes = frames * pageSize
	if w.walBytes < restartBytes {
		if frames == copied {
			w.walBytes = 0 // the next transaction begins from its start
		}
		return
	}
	w.log.readers.gate.Lock()
	w.conn.SetBusyTimeout(0) // senders would wait for the other process
	frames, _, err = w.runCheckpoint("RESTART")
	w.conn.SetBusyTimeout(busyTime)
	w.log.readers.gate.Unlock()
	switch {
	case isBusyError(err):
		if frames*pageSize >= pinnedBytes && time.Since(w.warnedAt) >= pinnedTime {
			w.warnedAt = time.Now()
			w.log.logger.Warn("another process reads the database and keeps its write-ahead log from being emptied: end that process",
				"file", w.log.path+walSuffix, "bytes", frames*pageSize)
		}
		w.walBytes = checkpointBytes / 2 // try again soon
	case isFullError(err):
		w.walBytes = checkpointBytes / 2
	case err != nil:
		w.fail(fmt.Errorf("checkpoint: %w", err))
	default:
		w.walBytes = 0
	}
}

// checkpointAll empties the write-ahead log. What is in the database is on the disk
// then.
func (w *writer) checkpointAll() error {
	if _, _, err := w.runCheckpoint("TRUNCATE"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	w.files.forgetSizes()
	w.walBytes = 0
	return nil
}

// runCheckpoint returns how many frames the write-ahead log has, and how many of them
// are in the database. It fails with SQLITE_BUSY if another process is in the way.
func (w *writer) runCheckpoint(mode string) (frames, copied int64, err error) {
	stmt, err := w.conn.Prepare("PRAGMA wal_checkpoint(" + mode + ")")
	if err != nil {
		return 0, 0, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	more, err := stmt.Step()
	if err != nil || !more {
		return 0, 0, err
	}
	busy := stmt.ColumnInt64(0) != 0
	frames, copied = max(stmt.ColumnInt64(1), 0), max(stmt.ColumnInt64(2), 0)
	if busy && mode != "PASSIVE" {
		return frames, copied, sqlite.ResultBusy.ToError()
	}
	return frames, copied, nil
}
