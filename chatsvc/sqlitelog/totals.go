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
	l.mu.Lock()
	conn.use(l.epochs)
	l.mu.Unlock()
	return conn.scanner.lastBytes(conn.conn, first, next, bytes)
}

// lastBytes returns the lowest offset in [first, next] from which on the records add
// up to at most bytes.
func (s *scanner) lastBytes(conn *sqlite.Conn, first, next uint64, bytes int64) (uint64, error) {
	end, _, err := s.totalBefore(conn, next)
	if err != nil {
		return 0, err
	}
	low, high := first, next // the answer is in [low, high]
	for low < high {
		middle := low + (high-low)/2
		before, known, err := s.totalBefore(conn, middle)
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

// totalBefore returns the sum of the sizes of all records below an offset. If none of them
// is stored, it is computed from the first record that is. Known is false if the log has
// no record.
func (s *scanner) totalBefore(conn *sqlite.Conn, offset uint64) (total int64, known bool, err error) {
	r, known, err := s.before(conn, offset)
	if err != nil || known {
		return r.total, known, err
	}
	r, known, err = s.from(conn, 1)
	if err != nil || !known {
		return 0, false, err
	}
	return r.total - int64(r.message().Size()), true, nil
}
