package sqlitelog

import (
	"context"

	"example.com/simplechat/chatsvc"
)

const (
	// recentBytes is how many bytes of the newest records stay in memory for Follow.
	recentBytes = 4 << 20
	// followBytes is how many bytes a Follow yields at a time.
	followBytes = 256 << 10
)

// recentRecords holds the newest records as they were appended. It is guarded by the
// log's mu.
type recentRecords struct {
	entries []chatsvc.Entry // the offsets follow each other
	bytes   int
}

// add appends new records, and drops the oldest ones beyond recentBytes.
func (r *recentRecords) add(entries []chatsvc.Entry) {
	for _, e := range entries {
		r.bytes += len(e.Record)
	}
	r.entries = append(r.entries, entries...)
	drop := 0
	for ; r.bytes > recentBytes && drop < len(r.entries)-1; drop++ {
		r.bytes -= len(r.entries[drop].Record)
		r.entries[drop] = chatsvc.Entry{} // the array stays in use: free the record
	}
	r.entries = r.entries[drop:]
}

// reset drops all records.
func (r *recentRecords) reset() { *r = recentRecords{} }

// from returns the records from an offset on, about followBytes of them. It returns
// false if older ones must be read first.
func (r *recentRecords) from(offset uint64) ([]chatsvc.Entry, bool) {
	if len(r.entries) == 0 || offset < r.entries[0].Offset {
		return nil, false
	}
	left := r.entries[min(offset-r.entries[0].Offset, uint64(len(r.entries))):]
	bytes, n := 0, 0
	for n < len(left) && (n == 0 || bytes < followBytes) {
		bytes += len(left[n].Record)
		n++
	}
	return append([]chatsvc.Entry(nil), left[:n]...), true
}

// Follow implements [chatsvc.Log].
func (l *Log) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	l.mu.Lock()
	told := make(map[uint64]struct{}, len(l.redacted)) // redactions that need not be reported to the caller
	for offset := range l.redacted {
		told[offset] = struct{}{}
	}
	l.mu.Unlock()
	from = max(from, 1)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		chunk, changed, err := l.news(epoch, from, told)
		if err != nil {
			return err
		}
		if chunk.Next == chunk.From && len(chunk.Redacted) == 0 && changed == nil {
			if chunk, err = l.Read(ctx, epoch, from, chunk.Next+1<<20, followBytes); err != nil {
				return err
			}
			if from = max(from, chunk.Next); chunk.Next == chunk.From {
				continue // all of it was removed while it was read
			}
		}
		if chunk.Next > chunk.From || len(chunk.Redacted) > 0 {
			if err := yield(chunk); err != nil {
				return err
			}
			from = max(from, chunk.Next)
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// news returns the records in memory from an offset on, for Follow. With an empty chunk it
// returns a channel that is closed when more records are stored, or nil if older records
// must be read from the database.
func (l *Log) news(epoch string, from uint64, told map[uint64]struct{}) (chatsvc.Chunk, <-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.check(epoch); err != nil {
		return chatsvc.Chunk{}, nil, err
	}
	chunk := chatsvc.Chunk{From: from, Next: from, First: l.first}
	if len(l.redacted) != len(told) {
		for offset := range l.redacted {
			if _, known := told[offset]; !known {
				told[offset] = struct{}{}
				chunk.Redacted = append(chunk.Redacted, offset)
			}
		}
	}
	if from >= l.next {
		return chunk, l.changed, nil
	}
	entries, here := l.recent.from(from)
	if !here {
		return chunk, nil, nil
	}
	chunk.Entries = entries
	chunk.Next = from + uint64(len(entries))
	return chunk, l.changed, nil
}
