package sqlitelog

import (
	"errors"
	"fmt"
	"os"

	"zombiezen.com/go/sqlite"
)

// load reads the state of the database for the writer, and compares it with the
// evidence. If they contradict each other, the log gets another epoch.
func (w *writer) load(ev evidence, hasEvidence bool) error {
	if err := w.readEnd(ev, hasEvidence); err != nil {
		return err
	}
	if w.mayRepair {
		if err := w.checkTree(); err != nil {
			return err
		}
	}
	loss, err := w.loss(ev, hasEvidence)
	if err != nil {
		return err
	}
	aside := w.aside
	if aside != "" && loss == nil {
		if err := os.RemoveAll(aside); err != nil {
			return err
		}
	}
	if aside == "" && loss != nil && (w.next > 1 || w.hasDamagedEnd) {
		if aside, err = w.copyAside(); err != nil {
			return fmt.Errorf("%w; copy the files aside: %w", loss, err)
		}
	}
	if ev.Failed {
		if err := w.checkpointAll(); err != nil {
			return fmt.Errorf("write what an earlier process could not sync: %w", err)
		}
	}
	if w.evidence, err = openEvidence(w.log.dir, ev); err != nil {
		return err
	}
	if loss != nil {
		if err := errors.Join(w.newEpoch(loss, aside), w.checkpointAll()); err != nil { // the evidence must not be written before this
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
func (w *writer) readEnd(ev evidence, hasEvidence bool) error {
	var err error
	if w.epochs, err = readEpochs(w.conn); err != nil {
		return err
	}
	w.rows = newScanner(w.epochs)
	last, next, isDamaged, err := w.rows.end(w.conn, ev, hasEvidence)
	if err != nil {
		return err
	}
	w.next, w.total, w.last, w.stored = next, last.total, last.checksum, last.stored
	w.hasDamagedEnd = isDamaged
	w.clock = newClock(w.log.system, ev.Clock, w.stored)
	if w.keys, err = readKeys(w.conn, w.next, max(w.clock.now(), w.stored)); err != nil {
		return err
	}
	return w.findEdges()
}

// findEdges finds the oldest records that are reported and stored.
func (w *writer) findEdges() error {
	lowest, err := w.rows.lowest(w.conn)
	if err != nil {
		return err
	}
	if lowest == 0 {
		lowest = w.next
	}
	w.floor = edge{retention: w.log.retention.Stored(), rows: w.rows, offset: lowest}
	before, _, err := w.rows.totalBefore(w.conn, w.floor.offset)
	if err != nil {
		return err
	}
	w.floor.before = before
	w.first = edge{retention: w.log.retention, rows: w.rows, offset: w.floor.offset, before: before}
	return w.first.jump(w.conn, end{w.next, w.total, max(w.clock.now(), w.stored)})
}

// loss returns an error that says why acknowledged records are missing, or nil if none
// are.
func (w *writer) loss(ev evidence, hasEvidence bool) (error, error) {
	if w.hasDamagedEnd {
		return fmt.Errorf("the messages after %d are damaged", w.next-1), nil
	}
	if !hasEvidence {
		if w.next == 1 {
			return nil, nil //nolint:nilnil // nothing is missing, and nothing has failed
		}
		return fmt.Errorf("the file %q beside it is missing or cannot be read: the database may be a copy", evidenceFile), nil
	}
	checksum, found, err := queryInt(w.conn, `SELECT checksum FROM messages WHERE "offset" = ?`, int64(ev.Offset))
	if err != nil {
		return nil, err
	}
	redacted, isRedacted, err := queryInt(w.conn, `SELECT time FROM redactions WHERE "offset" = ?`, int64(ev.Offset))
	_ = redacted
	if err != nil {
		return nil, err
	}
	return ev.contradicts(w.epochs[len(w.epochs)-1].epoch, w.next-1, checksum, found && !isRedacted, w.log.system.boot()), nil
}

// copyAside copies the files aside before they are changed, and opens the
// database again: on systems where locks belong to the process, copying releases SQLite's
// locks (https://www.sqlite.org/howtocorrupt.html, 2.2).
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

// newEpoch begins an epoch, because acknowledged records are missing. The files were copied
// to the directory aside, unless it is empty.
func (w *writer) newEpoch(cause error, aside string) error {
	e := epochStart{w.next, newEpoch()}
	if err := errors.Join(w.deleteFrom(w.next), addEpoch(w.conn, e)); err != nil {
		return err
	}
	epochs, err := readEpochs(w.conn)
	if err != nil {
		return err
	}
	was := w.epochs[len(w.epochs)-1].epoch
	w.epochs, w.rows.epochs, w.hasDamagedEnd = epochs, epochs, false
	w.log.logger.Error("acknowledged messages are missing: the log gets another epoch", "error", cause,
		"was", was, "is", e.epoch, "next", w.next, "aside", aside, "command", "simplechat log repair --data "+aside)
	return nil
}

// show makes the loaded state the state of the log. From now on, reads use connections
// that open returns. Down is the reason why nothing can be stored, or nil.
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
	if down != nil {
		l.down = down
	}
	l.announce()
	return l.readers.reopen(open)
}
