package sqlitelog

import (
	"errors"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// fill finds the missing messages, and replaces them by empty ones, except at the end.
func (r *repair) fill() error {
	var gaps []row // the row before each gap
	expected := r.known.floor
	var before row
	err := sqlitex.ExecuteTransient(r.build.conn, `SELECT "offset", stored, total FROM messages ORDER BY "offset"`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			is := row{offset: uint64(stmt.ColumnInt64(0)), stored: stmt.ColumnInt64(1), total: stmt.ColumnInt64(2)}
			if r.done.Messages == 0 {
				r.done.First = is.offset
			}
			r.done.Messages++
			if expected > 0 && is.offset > expected {
				r.done.Missing = append(r.done.Missing, Range{expected, is.offset})
				if before.offset > 0 {
					gaps = append(gaps, before)
				}
			}
			before, expected = is, is.offset+1
			return nil
		},
	})
	if err != nil {
		return err
	}
	r.done.Next = max(before.offset+1, 1)
	if r.hasEvidence && r.ev.Offset >= r.done.Next {
		r.done.Missing = append(r.done.Missing, Range{max(r.done.Next, r.known.floor), r.ev.Offset + 1})
		if before.offset == 0 { // nothing is left: continue after the last acknowledged message
			r.done.First, r.done.Next = r.ev.Offset+1, r.ev.Offset+1
		}
	}
	for _, gap := range gaps {
		if err := r.fillGap(gap); err != nil {
			return err
		}
	}
	return nil
}

// fillGap adds empty messages after a row.
func (r *repair) fillGap(before row) error {
	for _, missing := range r.done.Missing {
		if missing.From != before.offset+1 || missing.To-missing.From > maxFilled {
			continue
		}
		for empty := before; empty.offset+1 < missing.To; {
			empty.offset++
			if err := r.build.add(empty.emptied()); err != nil {
				return err
			}
		}
	}
	return nil
}

// redact applies the known redactions to the messages that were found.
func (r *repair) redact() error {
	for offset := range r.known.redacted {
		row, isThere, err := r.rowAt(offset)
		if err != nil {
			return err
		}
		if !isThere {
			continue
		}
		if err := pragma(r.build.conn, fmt.Sprintf(`DELETE FROM messages WHERE "offset" = %d`, offset)); err != nil {
			return err
		}
		if err := errors.Join(r.build.add(row.emptied()), r.build.redact(offset, time.UnixMilli(row.stored))); err != nil {
			return err
		}
	}
	return nil
}

// rowAt returns a row of the new database.
func (r *repair) rowAt(offset uint64) (found row, isThere bool, err error) {
	err = sqlitex.ExecuteTransient(r.build.conn, `SELECT stored, total FROM messages WHERE "offset" = ?`, &sqlitex.ExecOptions{
		Args: []any{int64(offset)},
		ResultFunc: func(stmt *sqlite.Stmt) error {
			found, isThere = row{offset: offset, stored: stmt.ColumnInt64(0), total: stmt.ColumnInt64(1)}, true
			return nil
		},
	})
	return found, isThere, err
}

// keepKeys keeps the keys of messages that are kept.
func (r *repair) keepKeys() error {
	for _, k := range r.known.keys.order {
		if _, isThere, err := r.rowAt(k.offset); err != nil || !isThere {
			if err != nil {
				return err
			}
			continue
		}
		err := sqlitex.Execute(r.build.conn, insertKeyRow, &sqlitex.ExecOptions{Args: []any{int64(k.offset), k.key[:], k.used}})
		if err != nil {
			return err
		}
	}
	return nil
}
