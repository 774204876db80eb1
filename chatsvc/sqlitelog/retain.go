package sqlitelog

import (
	"slices"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// edge is the oldest record that a retention allows. It moves forward over the records,
// and reads some of them ahead. It is not safe for concurrent use.
type edge struct {
	retention chatsvc.Retention
	rows      *scanner
	offset    uint64 // of the oldest record that is allowed
	before    int64  // sum of the sizes of the records before it
	ahead     []edgeRow
}

// edgeRow is the part of a row that an edge needs.
type edgeRow struct {
	offset uint64
	stored int64
	total  int64
}

// edgeAhead is how many rows an edge reads at a time.
const edgeAhead = 256

// end is where the log ends.
type end struct {
	next  uint64
	total int64 // sum of the sizes of all records
	now   int64 // log time in milliseconds
}

// advance moves the edge past the records that the retention does not allow, at most
// limit of them.
func (e *edge) advance(conn *sqlite.Conn, to end, limit int) error {
	if e.retention == (chatsvc.Retention{}) {
		return nil
	}
	for n := 0; e.offset < to.next; n++ {
		if len(e.ahead) == 0 {
			var err error
			if e.ahead, err = e.rows.readEdge(conn, e.offset, to); err != nil {
				return err
			}
			if len(e.ahead) == 0 { // the remaining records cannot be read
				return nil
			}
		}
		row := e.ahead[0]
		// Missing records before the row are as old as the row.
		age := time.Duration(to.now-row.stored) * time.Millisecond
		if !e.retention.Exceeded(to.next-e.offset, to.total-e.before, age) {
			return nil
		}
		if n == limit {
			return nil
		}
		if e.offset++; e.offset > row.offset {
			e.before, e.ahead = row.total, e.ahead[1:]
		}
	}
	return nil
}

// readEdge returns the rows from the first proven one at an offset or above it.
func (s *scanner) readEdge(conn *sqlite.Conn, from uint64, to end) ([]edgeRow, error) {
	first, found, err := s.from(conn, from)
	if err != nil || !found {
		return nil, err
	}
	stmt, err := conn.Prepare(`SELECT "offset", stored, total FROM messages WHERE "offset" > ? ORDER BY "offset" LIMIT ?`)
	if err != nil {
		return nil, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	stmt.BindInt64(1, int64(first.offset))
	stmt.BindInt64(2, edgeAhead-1)
	proven := edgeRow{first.offset, first.stored, first.total}
	rows := []edgeRow{proven}
	for {
		more, err := stmt.Step()
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		rows = append(rows, edgeRow{uint64(stmt.ColumnInt64(0)), stmt.ColumnInt64(1), stmt.ColumnInt64(2)})
	}
	if rows = plausible(rows, to); len(rows) == 0 {
		rows = []edgeRow{proven}
	}
	return rows, nil
}

// plausible returns the rows that fit their neighbours: offsets, times and sums
// never decrease, and none is above that of the end. If two neighbours contradict each
// other, one of them is damaged, and both are left out: they count as missing, and as old
// as the next row. Checking each row's checksum instead would read all content that is
// about to be removed.
func plausible(rows []edgeRow, to end) []edgeRow {
	follows := func(a, b edgeRow) bool { return a.offset < b.offset && a.stored <= b.stored && a.total <= b.total }
	rows = slices.DeleteFunc(rows, func(r edgeRow) bool { return !follows(r, edgeRow{to.next, to.now, to.total}) })
	for {
		kept := make([]edgeRow, 0, len(rows))
		for i, r := range rows {
			if (i == 0 || follows(rows[i-1], r)) && (i == len(rows)-1 || follows(r, rows[i+1])) {
				kept = append(kept, r)
			}
		}
		if len(kept) == len(rows) {
			return kept
		}
		rows = kept
	}
}

// jump moves the edge as far as advance would. It needs only a few look-ups for any
// distance.
func (e *edge) jump(conn *sqlite.Conn, to end) error {
	r := e.retention
	if r.Messages > 0 && to.next > uint64(r.Messages) {
		e.offset = max(e.offset, to.next-uint64(r.Messages))
	}
	if r.Bytes > 0 && e.offset < to.next {
		offset, err := e.rows.lastBytes(conn, e.offset, to.next, r.Bytes)
		if err != nil {
			return err
		}
		e.offset = max(e.offset, offset)
	}
	if r.Age > 0 && e.offset < to.next {
		offset, err := e.rows.youngerThan(conn, e.offset, to.next, to.now-r.Age.Milliseconds())
		if err != nil {
			return err
		}
		e.offset = max(e.offset, offset)
	}
	before, known, err := e.rows.totalBefore(conn, e.offset)
	if err != nil {
		return err
	}
	if e.ahead = nil; known {
		e.before = before
	}
	return nil
}

// youngerThan returns the lowest offset in [from, next] from which on all records were
// stored after a given time. Records are stored in the order of their offsets.
func (s *scanner) youngerThan(conn *sqlite.Conn, from, next uint64, stored int64) (uint64, error) {
	for from < next {
		middle := from + (next-from)/2
		r, found, err := s.from(conn, middle)
		if err != nil {
			return 0, err
		}
		if !found || r.stored > stored {
			next = middle
		} else {
			from = middle + 1
		}
	}
	return from, nil
}
