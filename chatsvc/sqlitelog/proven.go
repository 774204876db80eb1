package sqlitelog

import (
	"fmt"

	"zombiezen.com/go/sqlite"
)

// maxUnproven is how many rows are skipped in search of a proven one. A page has at most
// a few hundred rows.
const maxUnproven = 1024

// proven returns the first row of a query whose checksum is right; its content is
// valid until the next scan. Other rows are skipped: on a damaged page, the offset is as
// doubtful as the rest. After maxUnproven of them it fails with SQLITE_CORRUPT.
func (s *scanner) proven(conn *sqlite.Conn, order string, args ...uint64) (row, bool, error) {
	stmt, err := conn.Prepare(selectRows + order)
	if err != nil {
		return row{}, false, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	for i, arg := range args {
		stmt.BindInt64(i+1, int64(min(arg, 1<<63-1)))
	}
	for range maxUnproven {
		more, err := stmt.Step()
		if err != nil || !more {
			return row{}, false, err
		}
		if r, err := s.scan(stmt); err == nil || r.isEmptied() {
			return r, true, nil
		}
	}
	return row{}, false, fmt.Errorf("%d messages in a row: %w: %w", maxUnproven, errDamaged, sqlite.ResultCorrupt.ToError())
}

// last returns the last proven row.
func (s *scanner) last(conn *sqlite.Conn) (row, bool, error) {
	return s.proven(conn, ` WHERE "offset" > 0 ORDER BY "offset" DESC`)
}

// before returns the last proven row below an offset.
func (s *scanner) before(conn *sqlite.Conn, offset uint64) (row, bool, error) {
	return s.proven(conn, ` WHERE "offset" < ? AND "offset" > 0 ORDER BY "offset" DESC`, offset)
}

// from returns the first proven row at an offset or above it.
func (s *scanner) from(conn *sqlite.Conn, offset uint64) (row, bool, error) {
	return s.proven(conn, ` WHERE "offset" >= ? ORDER BY "offset"`, offset)
}

// end returns the offset after the last message, and whether damaged rows follow it.
// The last message may be damaged and still be the acknowledged one: then the
// evidence has its checksum.
func (s *scanner) end(conn *sqlite.Conn, ev evidence, hasEvidence bool) (last row, next uint64, isDamaged bool, err error) {
	last, found, err := s.last(conn)
	if err != nil {
		return last, 0, false, err
	}
	current := s.epochs[len(s.epochs)-1]
	next = max(current.from, 1) // an empty log that had records continues after them
	if found {
		next = max(next, last.offset+1)
	}
	if hasEvidence && ev.Epoch == current.epoch && ev.Offset >= next {
		checksum, isThere, err := queryInt(conn, `SELECT checksum FROM messages WHERE "offset" = ?`, int64(ev.Offset))
		if err != nil && !isDamage(err) {
			return last, 0, false, err
		}
		isLast := err == nil && isThere && checksum == ev.Checksum
		if isLast || !found && ev.Empty { // or all were removed by age
			next, last.checksum = ev.Offset+1, ev.Checksum
		}
	}
	_, isDamaged, err = queryInt(conn, `SELECT 1 FROM messages WHERE "offset" >= ? LIMIT 1`, int64(next))
	return last, next, isDamaged, err
}

// lowest returns the lowest stored offset, or 0 if there is none. The offset of an unproven
// row counts only if it is close to a proven one.
func (s *scanner) lowest(conn *sqlite.Conn) (uint64, error) {
	first, found, err := s.from(conn, 1)
	if err != nil || !found {
		return 0, err
	}
	lowest, found, err := queryInt(conn, `SELECT min("offset") FROM messages WHERE "offset" >= ? AND "offset" < ?`,
		max(int64(first.offset)-maxUnproven, 1), int64(first.offset))
	if err != nil || !found || lowest == 0 {
		return first.offset, err
	}
	return uint64(lowest), nil
}
