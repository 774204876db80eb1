package sqlitelog

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"
)

// samples is how many offsets are looked up at the start. A damaged inner page hides many
// messages, so some of these offsets are missing then.
const samples = 64

var (
	// errBrokenTree means that inner pages of the table are damaged.
	errBrokenTree = fmt.Errorf("%w: SQLite does not find messages that are in it", errNoSchema)
	// errBrokenEnd means that the end of a log is not known, or that nothing can be
	// stored there.
	errBrokenEnd = fmt.Errorf("%w: its last rows are not in order", errNoSchema)
)

// checkTree fails if SQLite cannot find messages, or cannot store one; then isUnreadable
// is true for its error. A repair finds all messages whose own bytes are intact. It reads
// little, and changes nothing.
func (w *writer) checkTree() error {
	if w.hasDamagedEnd {
		return errBrokenEnd
	}
	if err := w.tryInsert(); err != nil {
		return err
	}
	if w.hasHole() { // a log imported by an earlier version may have a hole without any damage
		var pages Checked
		pages.checkPages(context.Background(), w.conn)
		if len(pages.Problems) > 0 {
			return fmt.Errorf("%w: %s", errBrokenTree, pages.Problems[0])
		}
	}
	return nil
}

// tryInsert stores a message after the last one, and rolls that back.
func (w *writer) tryInsert() error {
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return nil //nolint:nilerr // another process writes: the next transaction finds out
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
	case sqlite.ResultConstraint: // a damaged row has the same offset
		return errBrokenEnd
	case sqlite.ResultCorrupt:
		return err
	default:
		return nil
	}
}

// hasHole reports whether one of the sampled offsets has no row.
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
