package sqlitelog

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// samples is how many offsets are looked up at the start: a page above the leaves that
// leads nowhere hides many messages.
const samples = 64

var (
	// errBrokenTree says that the pages above the messages are damaged.
	errBrokenTree = fmt.Errorf("%w: SQLite does not find messages that are in it", errNoSchema)
	// errBrokenEnd says that nobody can tell where a log ends, or that nothing can be
	// stored there.
	errBrokenEnd = fmt.Errorf("%w: its last rows are not in order", errNoSchema)
)

// checkTree fails with an error of which isUnreadable is true if SQLite cannot find
// messages, or store one: a repair finds all whose own bytes are intact. It reads
// little, and changes nothing.
func (w *writer) checkTree() error {
	if w.hasDamagedEnd {
		return errBrokenEnd
	}
	if err := w.tryInsert(); err != nil {
		return err
	}
	if w.hasHole() { // a log that an earlier version imported may have one, and is as it should be
		var pages Checked
		pages.checkPages(context.Background(), w.conn)
		if len(pages.Problems) > 0 {
			return fmt.Errorf("%w: %s", errBrokenTree, pages.Problems[0])
		}
	}
	return nil
}

// tryInsert stores a message behind the last one, and takes it back.
func (w *writer) tryInsert() error {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return nil //nolint:nilerr // another process writes: the next transaction tells
	}
	stmt, err := w.conn.Prepare(insertRow)
	if err == nil {
		r := row{offset: w.next}
		r.bind(stmt)
		_, err = stmt.Step()
		err = errors.Join(err, stmt.Reset())
	}
	if rollback := w.rollback(); rollback != nil {
		return rollback
	}
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultConstraint: // a damaged row has its place
		return errBrokenEnd
	case sqlite.ResultCorrupt:
		return err
	default:
		return nil
	}
}

// hasHole reports whether one of some offsets has no row.
func (w *writer) hasHole() bool {
	count := w.next - w.floor.offset
	step := max(count/samples, 1)
	for offset := w.floor.offset; offset < w.next; offset += step {
		if _, isThere, err := queryInt(w.conn, `SELECT 1 FROM messages WHERE "offset" = ?`, int64(offset)); err != nil || !isThere {
			return true
		}
	}
	return false
}
