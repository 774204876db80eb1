package sqlitelog

import (
	"context"
	"errors"
	"fmt"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// Read implements [chatsvc.Log].
func (l *Log) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	l.mu.Lock()
	err := l.check(epoch)
	epochs := l.epochs
	from, to = min(max(from, l.floor, 1), max(from, l.next)), min(to, l.next)
	chunk := chatsvc.Chunk{From: from, Next: from, First: l.first}
	l.mu.Unlock()
	if err != nil || from >= to {
		return chunk, err
	}
	conn, err := l.readers.acquire(ctx)
	if err != nil {
		return chunk, err
	}
	conn.use(epochs)
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

// trimmed drops records from a chunk that were removed while it was read. Otherwise they
// would look like records that cannot be read. The caller holds mu.
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

// use gives the connection the log's epochs, which the checksums of rows depend on.
func (c *readerConn) use(epochs []epochStart) {
	if c.scanner == nil || len(c.scanner.epochs) != len(epochs) {
		c.scanner = newScanner(epochs)
	}
}

// maxLookups is how many records one read looks up separately.
const maxLookups = 4096

// read returns the records in [from, to) that can be read, and the offset after
// them. It leaves out damaged records.
func (c *readerConn) read(ctx context.Context, from, to uint64, maxBytes int) ([]chatsvc.Entry, uint64, error) {
	c.conn.SetInterrupt(ctx.Done())
	defer c.conn.SetInterrupt(nil)
	got := newFound(maxBytes)
	err := c.scan(selectRows+` WHERE "offset" >= ? AND "offset" < ? ORDER BY "offset"`, from, to, got)
	switch next := got.next(to); {
	case ctx.Err() != nil || err != nil && !isDamage(err):
		return nil, from, errors.Join(err, ctx.Err())
	case uint64(got.count) == next-from:
		return got.entries, next, nil
	default:
		return c.lookUp(ctx, from, min(to, from+maxLookups), maxBytes)
	}
}

// lookUp is read for a damaged part. It looks up each record separately: a page may be
// unreadable, and on a readable page SQLite trusts a damaged offset and then ends early or
// skips intact records.
func (c *readerConn) lookUp(ctx context.Context, from, to uint64, maxBytes int) ([]chatsvc.Entry, uint64, error) {
	got := newFound(maxBytes)
	for offset := from; offset < to && !got.full; offset++ {
		err := c.scan(selectRows+` WHERE "offset" >= ? AND "offset" < ?`, offset, offset+1, got)
		if ctx.Err() != nil || err != nil && !isDamage(err) {
			return nil, from, errors.Join(err, ctx.Err())
		}
	}
	return got.entries, got.next(to), nil
}

// isDamage reports whether err means that a part of the file cannot be read. Other
// errors are temporary: records are not reported as damaged because of them.
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

// found is the result of a read.
type found struct {
	maxBytes int
	buffer   []byte
	bytes    int
	entries  []chatsvc.Entry
	count    int    // number of proven rows, including empty ones
	last     uint64 // offset of the last of them
	full     bool   // the record at last did not fit
}

func newFound(maxBytes int) *found {
	f := &found{maxBytes: maxBytes}
	if maxBytes > 0 {
		f.buffer = make([]byte, 0, min(maxBytes, 64<<10)+256)
	}
	return f
}

// next returns the offset after the records that were found.
func (f *found) next(to uint64) uint64 {
	if f.full {
		return f.last
	}
	return to
}

// scan adds the proven rows of a query to got until they exceed its bound.
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
		isEmptied := err != nil && r.isEmptied()
		if err != nil && !isEmptied || r.offset <= got.last || r.offset < from || r.offset >= to { // a damaged tree can repeat rows, or lead to wrong ones
			continue
		}
		size := r.message().Size()
		if !isEmptied && len(got.entries) > 0 && got.bytes+size > got.maxBytes {
			got.last, got.full = r.offset, true
			return nil
		}
		got.last = r.offset
		got.count++
		if isEmptied {
			continue
		}
		var e chatsvc.Entry
		e, got.buffer = r.entry(got.buffer)
		got.bytes += size
		got.entries = append(got.entries, e)
	}
}
