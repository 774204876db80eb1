package chatsvc

import (
	"slices"
	"sync/atomic"

	"example.com/simplechat/chatsvc/internal/record"
)

const (
	// chunkBytes is the size of a chunk, and therefore of the largest batch with more
	// than one record.
	chunkBytes = 64 << 10
	// ownChunkBytes is the smallest size of a record that gets its own chunk,
	// which shares the log's bytes instead of copying them.
	ownChunkBytes = 4 << 10
	// chunkOverhead is the approximate size of a chunk without its records.
	chunkOverhead = 256
	// recordOverhead is the approximate largest size of a record without its content.
	recordOverhead = 1 << 10
)

// chunk is consecutive encoded records in memory. Data and ends are only appended to or
// replaced as a whole, so slices of them never change.
type chunk struct {
	base   uint64 // offset of the first record
	before int64  // sum of the sizes of the records before it, in the hot end
	data   []byte // the records
	ends   []uint32
	json   jsonForm
	// evicted means that the chunk has left the hot end. It stays in memory while
	// subscribers write it.
	evicted atomic.Bool
}

// newChunk returns a chunk of the records in c. It calls unreadable for records that
// cannot be read, and uses empty ones for them.
func newChunk(c Chunk, unreadable func(from, to uint64)) *chunk {
	size, next := 0, c.From
	for _, e := range c.Entries {
		size += len(e.Record) + int(e.Offset-next)*len(record.Empty)
		next = e.Offset + 1
	}
	size += int(c.Next-next) * len(record.Empty)
	n := &chunk{base: c.From, ends: make([]uint32, 0, c.Next-c.From)}
	if size < ownChunkBytes || c.Next-c.From > 1 {
		n.data = make([]byte, 0, size)
	}
	eachRecord(c, unreadable, n.add)
	return n
}

// eachRecord calls add with the record of each offset in c, in order. It adds an empty
// record for an offset without a valid record, and calls unreadable once for each run of
// such offsets.
func eachRecord(c Chunk, unreadable func(from, to uint64), add func([]byte)) {
	next := c.From
	lost := func(to uint64) {
		if next == to {
			return
		}
		unreadable(next, to)
		for ; next < to; next++ {
			add(record.Empty)
		}
	}
	for _, e := range c.Entries {
		if _, err := record.Parse(e.Record); err != nil {
			continue
		}
		lost(e.Offset)
		add(e.Record)
		next++
	}
	lost(c.Next)
}

// add appends the next record. It does not copy the first record if the chunk has no
// buffer.
func (c *chunk) add(r []byte) {
	if cap(c.data) == 0 {
		c.data = slices.Clip(r)
	} else {
		c.data = append(c.data, r...)
	}
	c.ends = append(c.ends, uint32(len(c.data)))
}

// size returns the approximate memory of the chunk without its JSON form, in bytes.
func (c *chunk) size() int64 { return int64(cap(c.data) + 4*cap(c.ends) + chunkOverhead) }

// start returns where the record at index i begins in data.
func start(i int, ends []uint32) uint32 {
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

	// The chunk at the moment of the read; records may be appended to it later.
	chunk   *chunk
	index   int      // of the first record in the chunk
	records []byte   // chunk.data
	ends    []uint32 // chunk.ends
}

// batch returns the records in [from, to) that are in the chunk. From is in the chunk.
func (c *chunk) batch(from, to uint64) batch {
	i := int(from - c.base)
	ends := c.ends[:min(uint64(len(c.ends)), to-c.base)]
	return batch{
		offset:  from,
		count:   len(ends) - i,
		data:    c.data[start(i, ends):ends[len(ends)-1]],
		chunk:   c,
		index:   i,
		records: c.data,
		ends:    ends,
	}
}

// redacted returns a copy of the chunk in which the record at offset is an empty
// one.
func (c *chunk) redacted(offset uint64) *chunk {
	n := &chunk{base: c.base, before: c.before, data: make([]byte, 0, len(c.data)), ends: make([]uint32, 0, len(c.ends))}
	for i := range c.ends {
		r := c.data[start(i, c.ends):c.ends[i]]
		if c.base+uint64(i) == offset {
			r = record.Empty
		}
		n.data = append(n.data, r...)
		n.ends = append(n.ends, uint32(len(n.data)))
	}
	return n
}
