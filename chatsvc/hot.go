package chatsvc

import (
	"slices"
	"sort"
)

// spareChunks is the smallest number of chunks in the hot end, so that a subscriber
// that keeps up never reads from the log.
const spareChunks = 2

// hotEnd holds the newest records of the log in memory. It is not safe for
// concurrent use, but its batches are.
type hotEnd struct {
	limit  int64       // bytes of memory
	chunks []*chunk    // oldest first; at least one while next > floor
	next   uint64      // offset of the next record
	bytes  int64       // memory of the chunks without their JSON forms
	total  int64       // sum of the sizes of all records that were ever added
	json   jsonAccount // memory of the JSON forms
	// evicted is called with the size of chunks that were evicted; nil: no call.
	evicted func(bytes int64)
}

// add appends the next record.
func (h *hotEnd) add(r []byte) {
	var c *chunk
	if n := len(h.chunks); n > 0 {
		c = h.chunks[n-1]
	}
	switch {
	case len(r) >= ownChunkBytes:
		c = h.open(nil)
	case c == nil || len(c.data)+len(r) > cap(c.data):
		c = h.open(make([]byte, 0, chunkBytes))
	}
	before := c.size()
	c.add(r)
	h.bytes += c.size() - before
	h.total += int64(len(r))
	h.next++
}

// open begins a chunk. It frees the unused room of the chunk before: otherwise small
// records between large ones would each use a whole chunk.
func (h *hotEnd) open(data []byte) *chunk {
	if n := len(h.chunks); n > 0 {
		last := h.chunks[n-1]
		h.bytes -= last.size()
		if len(last.data) < cap(last.data)/2 {
			last.data = slices.Clone(last.data)
		}
		h.bytes += last.size()
	}
	c := &chunk{base: h.next, before: h.total, data: data}
	c.json.account = &h.json
	h.chunks = append(h.chunks, c)
	h.bytes += c.size()
	return c
}

// restart drops all chunks and continues at offset next.
func (h *hotEnd) restart(next uint64) {
	for _, c := range h.chunks {
		h.drop(c)
	}
	h.chunks, h.next, h.bytes = nil, next, 0
}

// evict frees memory until the hot end is within its limit: first JSON forms, then
// chunks, the oldest first. It keeps the last chunks and their JSON forms, which all
// subscribers that keep up are about to write.
func (h *hotEnd) evict() {
	for _, c := range h.chunks[:max(0, len(h.chunks)-spareChunks)] {
		if h.json.bytes.Load() == 0 || h.bytes+h.json.bytes.Load() <= h.limit {
			break
		}
		c.json.drop()
	}
	count := 0
	for count < len(h.chunks)-spareChunks && h.bytes+h.json.bytes.Load() > h.limit {
		h.bytes -= h.chunks[count].size()
		h.drop(h.chunks[count])
		count++
	}
	h.chunks = slices.Delete(h.chunks, 0, count)
}

// drop marks c as evicted.
func (h *hotEnd) drop(c *chunk) {
	c.evicted.Store(true)
	c.json.drop()
	if h.evicted != nil {
		h.evicted(c.size())
	}
}

// isFull reports whether evict would free memory.
func (h *hotEnd) isFull() bool {
	return len(h.chunks) > spareChunks && h.bytes+h.json.bytes.Load() > h.limit
}

// redact replaces the record at offset by an empty one.
func (h *hotEnd) redact(offset uint64) {
	if offset < h.floor() || offset >= h.next {
		return
	}
	i := h.find(offset)
	old := h.chunks[i]
	fresh := old.redacted(offset)
	fresh.json.account = &h.json
	h.bytes += fresh.size() - old.size()
	h.chunks[i] = fresh
	h.drop(old)
}

// floor returns the offset of the oldest record in memory, or next.
func (h *hotEnd) floor() uint64 {
	if len(h.chunks) == 0 {
		return h.next
	}
	return h.chunks[0].base
}

// batch returns the records in [from, to) that are in the chunk of from. From is floor or
// higher, and to is at most next. The batch is empty if from is not below to.
func (h *hotEnd) batch(from, to uint64) batch {
	if from >= to {
		return batch{offset: from}
	}
	return h.chunks[h.find(from)].batch(from, to)
}

// find returns the index of the chunk with the record at offset, which is floor or
// higher, and lower than next.
func (h *hotEnd) find(offset uint64) int {
	if last := len(h.chunks) - 1; h.chunks[last].base <= offset {
		return last // the case of most subscribers
	}
	return sort.Search(len(h.chunks), func(i int) bool { return h.chunks[i].base > offset }) - 1
}

// size returns the sum of the sizes of the records from offset, which is floor or
// higher, to the end.
func (h *hotEnd) size(offset uint64) int64 {
	if offset >= h.next {
		return 0
	}
	c := h.chunks[h.find(offset)]
	return h.total - c.before - int64(start(int(offset-c.base), c.ends))
}

// lastBytes returns the lowest offset for which the sizes of the records from it to the end
// add up to at most bytes, or floor if all records do.
func (h *hotEnd) lastBytes(bytes int64) uint64 {
	floor := h.floor()
	n := sort.Search(int(h.next-floor), func(i int) bool { return h.size(floor+uint64(i)) <= bytes })
	return floor + uint64(n)
}
