package sqlitelog

import (
	"errors"
	"fmt"
	"time"
)

const (
	// checkpointBytes is the size of the write-ahead log at which the writer copies
	// it into the database, after an acknowledgement.
	checkpointBytes = 4 << 20
	// restartBytes is the size at which readers are kept out for a moment, so that
	// the write-ahead log begins from its start again.
	restartBytes = 8 << 20
	// pinnedBytes is the size at which a warning is logged, because another process
	// keeps the write-ahead log from being emptied.
	pinnedBytes = 16 << 20
	// pinnedTime is the time between two such warnings.
	pinnedTime = time.Minute
	// scrubEvery is the time between two attempts to remove redacted messages from the
	// write-ahead log.
	scrubEvery = time.Second
	// noteTime is how often the evidence is synced.
	noteTime = time.Second
)

// maintenance is the state of the writer's work between transactions.
type maintenance struct {
	walBytes    int64 // approximate size of the used part of the write-ahead log
	dataVersion int64 // changes when another process has changed the database
	warnedAt    time.Time
	lookedAt    time.Time
	scrubbedAt  time.Time
	isRedacted  bool // the write-ahead log may still contain redacted messages
}

// grow adds the estimated size of a transaction in the write-ahead log: the pages of its
// rows, and some pages that every transaction changes.
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

// maintain does the work that is due between transactions.
func (w *writer) maintain() {
	if w.conn == nil || w.broken != nil {
		_ = w.ready() // it stores the reason
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

// look applies the changes of other processes, and does the work that is due while no
// message is sent.
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
		return // the next transaction reports it
	}
	// A small transaction may fit where the last one did not, also on a full disk: the
	// write-ahead log has room in it.
	mayFit := w.isFull && writeRoom(w.log.dir, 0, w.lacked) == nil
	if !mayFit && first.offset == t.first.offset && floor.offset == t.floor.offset && w.keys.expired(t.now, 1) == 0 {
		return
	}
	change := func() error { return nil }
	if mayFit {
		change = func() error { return w.exec(fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)) }
	}
	isCommitted, err := w.transact(t, change)
	switch {
	case err == nil:
		w.startSync(&pendingSync{transaction: t}) // without a batch the sync finishes here
	case isCommitted:
		w.fail(err)
	default:
		_ = w.refused(err)
	}
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
