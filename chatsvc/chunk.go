package chatsvc

import (
	"slices"
	"sync"
	"sync/atomic"

	"example.com/simplechat/chatsvc/internal/record"
)

const (
	// chunkBytes is the size of a chunk, and with it of the largest batch of more
	// than one record.
	chunkBytes = 64 << 10
	// ownChunkBytes is the size from which a record is a chunk of its own,
	// which shares the log's bytes instead of copying them.
	ownChunkBytes = 4 << 10
	// chunkOverhead is about what a chunk takes beside its records.
	chunkOverhead = 256
	// recordOverhead is about the most that a record takes beside its content.
	recordOverhead = 1 << 10
)

// chunk is consecutive records in memory, encoded, one behind the other. Data and
// ends are only ever appended to or replaced, so a slice that was handed out does
// not change.
type chunk struct {
	base   uint64 // offset of the first record
	before int64  // sum of the sizes of the records before it, in the hot end
	data   []byte // the records
	ends   []uint32
	json   jsonForm
	// evicted tells that the chunk has left the hot end: it stays in memory only for
	// those that write it.
	evicted atomic.Bool
}

// newChunk returns a chunk of the records in c, with an empty one for each that
// cannot be read, for which it calls unreadable.
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

// eachRecord calls add with the record of each offset in c, in order: an empty one
// where there is none, or none that is one of SimpleChat. Those it reports, each
// run of them once.
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

// add appends the next record. It shares the bytes of the first one if there is no
// room for it.
func (c *chunk) add(r []byte) {
	if cap(c.data) == 0 {
		c.data = slices.Clip(r)
	} else {
		c.data = append(c.data, r...)
	}
	c.ends = append(c.ends, uint32(len(c.data)))
}

// size returns about how many bytes of memory the chunk takes without its JSON form.
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

	// The chunk as it was when the batch was read: others append to it.
	chunk   *chunk
	index   int      // of the first record in the chunk
	records []byte   // chunk.data
	ends    []uint32 // chunk.ends
}

// batch returns the records from offset from, which is in the chunk, to below
// offset to, as far as the chunk goes.
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

// jsonForm is the JSON of a chunk's records, made once when the first
// subscriber asks for it, and dropped when memory is short.
type jsonForm struct {
	account *atomic.Int64 // sum of the sizes of the JSON forms of all chunks that share a bound

	mu   sync.Mutex // guards all below
	data []byte     // each record's message, followed by a comma
	ends []int      // where each record's comma ends in data
}

// json returns the batch's messages as JSON objects with commas between them.
func (b batch) json() ([]byte, error) {
	data, ends, err := b.jsonParts()
	if err != nil || b.count == 0 {
		return nil, err
	}
	first := 0
	if b.index > 0 {
		first = ends[b.index-1]
	}
	return data[first : ends[len(ends)-1]-1], nil
}

// jsonParts returns the JSON form of the chunk up to the batch's end, and where each
// record's comma ends in it. The batch begins with the record at its index.
func (b batch) jsonParts() (data []byte, ends []int, err error) {
	if b.count == 0 {
		return nil, nil, nil
	}
	data, ends, err = b.makeJSON()
	// The chunk may have left while the form was made, and drop does not wait for
	// that: nobody else will drop the form.
	if b.chunk.evicted.Load() {
		b.chunk.json.forget()
	}
	return data, ends, err
}

// makeJSON is jsonParts for a batch that has records.
func (b batch) makeJSON() ([]byte, []int, error) {
	f := &b.chunk.json
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.size()
	if cap(f.data) == 0 {
		f.data = make([]byte, 0, len(b.records)+len(b.records)/2+64*len(b.ends))
	}
	for i := len(f.ends); i < len(b.ends); i++ {
		m, err := record.Parse(b.records[start(i, b.ends):b.ends[i]])
		if err != nil {
			return nil, nil, err
		}
		data, err := m.AppendJSON(f.data)
		if err != nil {
			return nil, nil, err
		}
		data = append(data, ',')
		f.data = data
		f.ends = append(f.ends, len(f.data))
	}
	if f.account != nil {
		f.account.Add(f.size() - before)
	}
	return f.data, f.ends[:len(b.ends)], nil
}

// size returns how many bytes of memory the form takes. The caller holds mu.
func (f *jsonForm) size() int64 { return int64(cap(f.data) + 8*cap(f.ends)) }

// forget takes the form out of its account.
func (f *jsonForm) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.account != nil {
		f.account.Add(-f.size())
		f.account = nil
	}
}

// drop frees the form unless it is being made; the next batch makes it again.
func (f *jsonForm) drop() {
	if !f.mu.TryLock() {
		return
	}
	defer f.mu.Unlock()
	if f.account != nil {
		f.account.Add(-f.size())
	}
	f.data, f.ends = nil, nil
}
