package chatsvc

import (
	"slices"
	"sort"
	"sync"
	"time"

	"example.com/simplechat/chatsvc/internal/record"
)

const (
	// chunkBytes is the size of a chunk, and with it the largest batch of more
	// than one record.
	chunkBytes = 64 << 10
	// ownChunkBytes is the size from which a record is a chunk of its own,
	// which shares the log's bytes instead of copying them.
	ownChunkBytes = 4 << 10
	// spareChunks is how many chunks the tail holds at least, so that a
	// subscriber who keeps up is not cut by a retention smaller than a burst.
	spareChunks = 2
)

// chunk holds consecutive records, encoded, one behind the other. Bytes and
// ends are only ever appended or moved, so a slice that was handed out stays as
// it is.
type chunk struct {
	base uint64 // offset of the first record
	data []byte // the records
	ends []int  // where each record ends in data
	// The times at which the log took the records.
	times []time.Time

	json jsonForm
}

// startOf returns where item i begins, given where each item ends.
func startOf(i int, ends []int) int {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

// batch is consecutive records of one chunk.
type batch struct {
	offset uint64 // of the first record
	count  int    // number of records; 0: an empty batch
	data   []byte // the records: a ChatMessages of count messages

	// The chunk as it was when the batch was read: others append to it.
	chunk   *chunk
	index   int    // of the first record in the chunk
	records []byte // chunk.data
	ends    []int  // chunk.ends
}

// tail is the retained end of the log. It is not safe for concurrent use, but
// its batches are.
type tail struct {
	retention Retention
	chunks    []*chunk // oldest first; at least one while next > floor
	first     uint64   // offset of the oldest retained record, or next
	next      uint64   // offset of the next record
	bytes     int64    // sum of the sizes of the retained records
}

// append adds the next record. Where e.Offset is not the next one, the tail
// begins anew there.
func (t *tail) append(e Entry) {
	if e.Offset != t.next {
		t.restart(e.Offset)
	}
	var c *chunk
	if n := len(t.chunks); n > 0 {
		c = t.chunks[n-1]
	}
	switch {
	case len(e.Record) >= ownChunkBytes:
		c = t.open(&chunk{base: e.Offset, data: slices.Clip(e.Record)})
	case c == nil || len(c.data)+len(e.Record) > cap(c.data):
		c = t.open(&chunk{base: e.Offset, data: make([]byte, 0, chunkBytes)})
		fallthrough
	default:
		c.data = append(c.data, e.Record...)
	}
	c.ends = append(c.ends, len(c.data))
	c.times = append(c.times, e.Time)
	t.next++
	t.bytes += int64(len(e.Record))
}

// open begins c. What the chunk before it has left over is given back, as small
// records between large ones would otherwise hold a chunk each.
func (t *tail) open(c *chunk) *chunk {
	if n := len(t.chunks); n > 0 {
		if last := t.chunks[n-1]; len(last.data) < cap(last.data)/2 {
			last.data = slices.Clone(last.data)
		}
	}
	t.chunks = append(t.chunks, c)
	return c
}

// restart drops all and goes on at offset next.
func (t *tail) restart(next uint64) {
	t.chunks, t.first, t.next, t.bytes = nil, next, next, 0
}

// trim moves first past what the retention no longer allows at now, and lets
// go of the chunks that nobody may need.
func (t *tail) trim(now time.Time) {
	for t.first < t.next {
		c := t.chunks[t.find(t.first)]
		i := int(t.first - c.base)
		if !t.retention.Exceeded(t.next-t.first, t.bytes, now.Sub(c.times[i])) {
			break
		}
		t.bytes -= int64(c.ends[i] - startOf(i, c.ends))
		t.first++
	}
	drop := 0
	for drop < len(t.chunks)-spareChunks && t.chunks[drop+1].base <= t.first {
		drop++
	}
	t.chunks = slices.Delete(t.chunks, 0, drop)
}

// oldest returns when the log took the oldest retained record.
func (t *tail) oldest() (time.Time, bool) {
	if t.first == t.next {
		return time.Time{}, false
	}
	c := t.chunks[t.find(t.first)]
	return c.times[t.first-c.base], true
}

// floor returns the offset of the oldest record that can still be read. It is
// at most first.
func (t *tail) floor() uint64 {
	if len(t.chunks) == 0 {
		return t.next
	}
	return t.chunks[0].base
}

// batch returns the records from offset from on, which is floor or higher, to
// below offset to, which is next at the highest, as far as from's chunk goes.
// The batch is empty if from is not below to.
func (t *tail) batch(from, to uint64) batch {
	if from >= to {
		return batch{offset: from}
	}
	c := t.chunks[t.find(from)]
	i := int(from - c.base)
	ends := c.ends[:min(len(c.ends), int(to-c.base))]
	return batch{
		offset:  from,
		count:   len(ends) - i,
		data:    c.data[startOf(i, ends):ends[len(ends)-1]],
		chunk:   c,
		index:   i,
		records: c.data,
		ends:    ends,
	}
}

// find returns the index of the chunk that holds offset, which is floor or
// higher, and lower than next.
func (t *tail) find(offset uint64) int {
	if last := len(t.chunks) - 1; t.chunks[last].base <= offset {
		return last // most subscribers are here
	}
	return sort.Search(len(t.chunks), func(i int) bool { return t.chunks[i].base > offset }) - 1
}

// jsonForm is the JSON of a chunk's records, made once when the first
// subscriber asks for it.
type jsonForm struct {
	mu   sync.Mutex
	data []byte // each record's message, followed by a comma
	ends []int  // where each record's comma ends in data
}

// json returns the batch's messages as JSON objects with commas between them.
func (b batch) json() ([]byte, error) {
	if b.count == 0 {
		return nil, nil
	}
	f := &b.chunk.json
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.ends); i < len(b.ends); i++ {
		m, err := record.Parse(b.records[startOf(i, b.ends):b.ends[i]])
		if err != nil {
			return nil, err
		}
		data, err := m.AppendJSON(f.data)
		if err != nil {
			return nil, err
		}
		data = append(data, ',')
		f.data = data
		f.ends = append(f.ends, len(f.data))
	}
	return f.data[startOf(b.index, f.ends) : f.ends[len(b.ends)-1]-1], nil
}
