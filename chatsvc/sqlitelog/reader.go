package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// readerCount is the number of connections that read: more than the cores of most
// machines have nothing to do.
const readerCount = 4

// readers are the connections that read. A gate keeps them out while the writer
// begins the write-ahead log from its start, which it can only do when nobody reads
// what is in it. They are safe for concurrent use.
type readers struct {
	gate sync.RWMutex     // read-locked by each read
	free chan *readerConn // nil values are connections that are not open yet
	open func() (*sqlite.Conn, error)

	mu         sync.Mutex // guards generation
	generation int        // grows when the connections must be opened again
}

type readerConn struct {
	conn       *sqlite.Conn
	generation int
	scanner    *scanner
}

func newReaders() *readers {
	r := &readers{free: make(chan *readerConn, readerCount)}
	for range readerCount {
		r.free <- nil
	}
	return r
}

// acquire returns a connection. The caller calls release.
func (r *readers) acquire(ctx context.Context) (*readerConn, error) {
	r.gate.RLock()
	var c *readerConn
	select {
	case c = <-r.free:
	case <-ctx.Done():
		r.gate.RUnlock()
		return nil, ctx.Err()
	}
	r.mu.Lock()
	generation, open := r.generation, r.open
	r.mu.Unlock()
	if c != nil && c.generation == generation {
		return c, nil
	}
	if c != nil {
		_ = c.conn.Close() // it only read
	}
	conn, err := open()
	if err != nil {
		r.free <- nil
		r.gate.RUnlock()
		return nil, err
	}
	return &readerConn{conn: conn, generation: generation}, nil
}

func (r *readers) release(c *readerConn) {
	r.free <- c
	r.gate.RUnlock()
}

// reopen makes reads use connections that open returns. It opens all of them at once
// and lets them read: they must have their files before somebody removes those. The
// caller holds the gate, or nobody reads yet.
func (r *readers) reopen(open func() (*sqlite.Conn, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = open
	r.generation++
	for range readerCount {
		if c := <-r.free; c != nil {
			_ = c.conn.Close() // it only read
		}
	}
	var failed error
	for range readerCount {
		conn, err := open()
		if err == nil {
			if _, err = readEpochs(conn); err == nil {
				r.free <- &readerConn{conn: conn, generation: r.generation}
				continue
			}
			_ = conn.Close() // it failed
		}
		failed = err
		r.free <- nil
	}
	return failed
}

// closeAll closes the connections, which are opened again when they are needed; the
// caller holds the gate.
func (r *readers) closeAll() {
	for range readerCount {
		if c := <-r.free; c != nil {
			_ = c.conn.Close() // it only read
		}
	}
	for range readerCount {
		r.free <- nil
	}
}

// leak forgets the connections without closing them; the caller holds the gate.
func (r *readers) leak() {
	for range readerCount {
		<-r.free
	}
	for range readerCount {
		r.free <- nil
	}
}

// Read implements [chatsvc.Log].
func (l *Log) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	l.mu.Lock()
	err := l.check(epoch)
	epochs := l.epochs
	from, to = max(from, l.floor, 1), min(to, l.next)
	chunk := chatsvc.Chunk{From: from, Next: from, First: l.first}
	l.mu.Unlock()
	if err != nil || from >= to {
		return chunk, err
	}
	conn, err := l.readers.acquire(ctx)
	if err != nil {
		return chunk, err
	}
	if conn.scanner == nil || len(conn.scanner.epochs) != len(epochs) {
		conn.scanner = newScanner(epochs)
	}
	chunk.Entries, chunk.Next, err = conn.read(ctx, from, to, maxBytes)
	l.readers.release(conn)
	if err != nil {
		return chunk, fmt.Errorf("read %s: %w", l.path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(epoch); err != nil {
		return chatsvc.Chunk{}, err
	}
	l.trimmed(&chunk)
	return chunk, nil
}

// trimmed takes out of a chunk what was removed while it was read, and would look as
// if it could not be read. The caller holds mu.
func (l *Log) trimmed(c *chatsvc.Chunk) {
	c.First = l.first
	floor := min(l.floor, c.Next)
	if floor <= c.From {
		return
	}
	c.From = floor
	for len(c.Entries) > 0 && c.Entries[0].Offset < floor {
		c.Entries = c.Entries[1:]
	}
}

// read returns the records in [from, to) that can be read, and the offset behind
// them. It leaves out what is damaged.
func (c *readerConn) read(ctx context.Context, from, to uint64, maxBytes int) ([]chatsvc.Entry, uint64, error) {
	c.conn.SetInterrupt(ctx.Done())
	defer c.conn.SetInterrupt(nil)
	got := found{maxBytes: maxBytes}
	if maxBytes > 0 {
		got.buffer = make([]byte, 0, min(maxBytes, 64<<10)+256)
	}
	err := c.scan(selectRows+` WHERE "offset" >= ? AND "offset" < ? ORDER BY "offset"`, from, to, &got)
	if err == nil || got.full {
		return got.entries, got.next(to), nil
	}
	if ctx.Err() != nil || !isDamage(err) {
		return nil, from, errors.Join(err, ctx.Err())
	}
	// A page cannot be read: look for each record by itself.
	for offset := got.last + 1; offset < to && ctx.Err() == nil; offset++ {
		if offset < from {
			offset = from
		}
		err := c.scan(selectRows+` WHERE "offset" >= ? AND "offset" < ?`, offset, offset+1, &got)
		if err != nil && !isDamage(err) {
			return nil, from, errors.Join(err, ctx.Err())
		}
		if got.full {
			break
		}
	}
	return got.entries, got.next(to), ctx.Err()
}

// isDamage reports whether err says that a part of the file cannot be read. Other
// errors pass by: what they are about is never taken for damaged.
func isDamage(err error) bool {
	switch code := sqlite.ErrCode(err); code.ToPrimary() {
	case sqlite.ResultCorrupt, sqlite.ResultNotADB, sqlite.ResultTooBig:
		return true
	case sqlite.ResultIOErr:
		return code == sqlite.ResultIOErrRead || code == sqlite.ResultIOErrShortRead
	default:
		return false
	}
}

// found is what a read has found.
type found struct {
	maxBytes int
	buffer   []byte
	bytes    int
	entries  []chatsvc.Entry
	last     uint64 // offset that was looked at last
	full     bool   // the record at last did not fit
}

// next returns the offset behind what was found.
func (f *found) next(to uint64) uint64 {
	if f.full {
		return f.last
	}
	return to
}

// scan adds the rows of a query to got, until they exceed its bound.
func (c *readerConn) scan(query string, from, to uint64, got *found) error {
	stmt, err := c.conn.Prepare(query)
	if err != nil {
		return err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	stmt.BindInt64(1, int64(from))
	stmt.BindInt64(2, int64(min(to, 1<<63-1)))
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return err
		}
		r, err := c.scanner.scan(stmt)
		if r.offset <= got.last && got.last > 0 { // a broken index repeats itself
			continue
		}
		if err != nil {
			got.last = r.offset
			continue
		}
		size := r.message().Size()
		if len(got.entries) > 0 && got.bytes+size > got.maxBytes {
			got.last, got.full = r.offset, true
			return nil
		}
		var e chatsvc.Entry
		e, got.buffer = r.entry(got.buffer)
		got.bytes += size
		got.last = r.offset
		got.entries = append(got.entries, e)
	}
}

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
