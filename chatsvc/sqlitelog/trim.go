package sqlitelog

import (
	"errors"
	"fmt"
)

// trim removes records that the retention does not allow, a few at a time.
func (w *writer) trim(t *transaction) error {
	to := end{t.next, t.total, t.now}
	limit := 2*len(t.entries) + trimRows
	if len(t.entries) == 0 {
		limit = idleTrimRows
	}
	if err := t.first.advance(w.conn, to, 1<<30); err != nil {
		return err
	}
	// Records that are reported as retained stay, because this transaction may fail.
	limit = min(limit, int(w.first.offset-min(t.floor.offset, w.first.offset)))
	from := t.floor.offset
	if err := t.floor.advance(w.conn, to, limit); err != nil {
		return err
	}
	if t.floor.offset > from {
		t.isTrimmed = true
		if err := w.deleteRange("messages", from, t.floor.offset); err != nil {
			return err
		}
	}
	if t.expiredKeys = w.keys.expired(t.now, maxCommit); t.expiredKeys > 0 {
		t.isTrimmed = true
		if err := w.deleteRange("keys", 0, t.expiredKeys+1); err != nil {
			return err
		}
	}
	if t.isTrimmed {
		return w.vacuum()
	}
	return nil
}

// deleteRange deletes rows in [from, to). The caller continues where the last call ended:
// SQLite stops at a damaged row whose offset is too large, and would stop there each
// time.
func (w *writer) deleteRange(table string, from, to uint64) error {
	stmt, err := w.conn.Prepare(`DELETE FROM ` + table + ` WHERE "offset" >= ? AND "offset" < ?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, int64(from))
	stmt.BindInt64(2, int64(to))
	if _, err := stmt.Step(); err != nil {
		_ = stmt.Reset()
		return err
	}
	return stmt.Reset()
}

// deleteFrom removes the damaged rows after the end of the log.
func (w *writer) deleteFrom(offset uint64) error {
	return pragma(w.conn, fmt.Sprintf(`DELETE FROM messages WHERE "offset" >= %d`, offset))
}

// vacuum gives some free pages back to the file system.
func (w *writer) vacuum() error {
	stmt, err := w.conn.Prepare(`PRAGMA incremental_vacuum(64)`)
	if err != nil {
		return err
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return errors.Join(err, stmt.Reset())
		}
	}
}
