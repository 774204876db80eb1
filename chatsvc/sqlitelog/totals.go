package sqlitelog

import (
	"context"

	"zombiezen.com/go/sqlite"
)

// LastBytes implements [chatsvc.SizedLog].
func (l *Log) LastBytes(ctx context.Context, epoch string, bytes int64) (uint64, error) {
	l.mu.Lock()
	err := l.check(epoch)
	first, next := l.first, l.next
	l.mu.Unlock()
	if err != nil || first >= next {
		return next, err
	}
	conn, err := l.readers.acquire(ctx)
	if err != nil {
		return 0, err
	}
	defer l.readers.release(conn)
	return lastBytes(conn.conn, first, next, bytes)
}

// lastBytes returns the lowest offset in [first, next] from which on the records add
// up to at most bytes.
func lastBytes(conn *sqlite.Conn, first, next uint64, bytes int64) (uint64, error) {
	end, _, err := totalBefore(conn, next)
	if err != nil {
		return 0, err
	}
	low, high := first, next // the answer is in [low, high]
	for low < high {
		middle := low + (high-low)/2
		before, known, err := totalBefore(conn, middle)
		if err != nil {
			return 0, err
		}
		if known && end-before <= bytes {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low, nil
}

// totalBefore returns the sum of the sizes of all records below an offset. Known is
// false if none of those is stored, and the sum that of the record at the offset less
// its size.
func totalBefore(conn *sqlite.Conn, offset uint64) (total int64, known bool, err error) {
	stmt, err := conn.Prepare(`SELECT total FROM messages WHERE "offset" < ? ORDER BY "offset" DESC LIMIT 1`)
	if err != nil {
		return 0, false, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	stmt.BindInt64(1, int64(offset))
	more, err := stmt.Step()
	if err != nil {
		return 0, false, err
	}
	if more {
		return stmt.ColumnInt64(0), true, nil
	}
	return firstTotal(conn)
}

// firstTotal returns the sum of the sizes of all records before the first one that is
// stored.
func firstTotal(conn *sqlite.Conn) (total int64, known bool, err error) {
	stmt, err := conn.Prepare(selectRows + ` ORDER BY "offset" LIMIT 1`)
	if err != nil {
		return 0, false, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	more, err := stmt.Step()
	if err != nil || !more {
		return 0, false, err
	}
	r, _ := newScanner([]epochStart{{}}).scan(stmt) // its checksum does not matter
	return r.total - int64(r.message().Size()), true, nil
}
