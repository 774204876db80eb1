package chatsvc

import (
	"sync"
	"sync/atomic"
)

// pendingWrites bounds the memory that pending writes hold in addition to the hot end and
// the cold cache: a batch whose chunk was evicted, or whose JSON form was dropped, stays in
// memory until it is written. It checks the streams each time that an eighth of the bound
// was evicted, so it costs nothing per write. It is safe for concurrent use.
type pendingWrites struct {
	limit   int64 // bytes
	evicted atomic.Int64
	running sync.Mutex // held by the check

	mu      sync.Mutex // guards all below
	streams map[*writeWatchdog]string
	ended   deliveries // of streams that were removed
}

func newPendingWrites(limit int64) *pendingWrites {
	return &pendingWrites{limit: limit, streams: make(map[*writeWatchdog]string)}
}

// add registers a stream of an owner, until remove.
func (p *pendingWrites) add(w *writeWatchdog, owner string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.streams[w] = owner
}

// remove removes a stream that has ended.
func (p *pendingWrites) remove(w *writeWatchdog) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sent, _ := w.progress()
	p.ended.add(sent)
	delete(p.streams, w)
}

// evict notes that bytes were evicted from the hot end or the cold cache. Writes may still
// hold them.
func (p *pendingWrites) evict(bytes int64) {
	if bytes == 0 || p.evicted.Add(bytes) < p.limit/8 {
		return
	}
	p.evicted.Store(0)
	go p.check()
}

// heldWrite is a write that holds memory which is no longer counted in the hot end or the
// cold cache.
type heldWrite struct {
	pendingWrite

	watchdog *writeWatchdog
	owner    string
}

// heldBytes identifies memory that a write holds, a chunk or the array of a JSON form, for
// one owner or, if owner is empty, in total.
type heldBytes struct {
	chunk *chunk
	array *jsonArray
	owner string
}

// holdsChunk reports whether only writes keep the chunk in memory.
func (w pendingWrite) holdsChunk() bool { return w.chunk != nil && w.chunk.evicted.Load() }

// holdsArray reports whether only writes keep the JSON form in memory.
func (w pendingWrite) holdsArray() bool {
	return w.array != nil && (w.holdsChunk() || w.chunk.json.array.Load() != w.array)
}

// check cuts writes until the remaining ones hold no more than the limit. It always cuts
// the oldest write of the owner that holds the most.
func (p *pendingWrites) check() {
	p.running.Lock()
	defer p.running.Unlock()
	writes := p.held()
	for {
		total, perOwner := sum(writes)
		if total <= p.limit {
			return
		}
		most := ""
		for owner, bytes := range perOwner {
			if most == "" || bytes > perOwner[most] {
				most = owner
			}
		}
		oldest := -1
		for i, w := range writes {
			if w.owner == most && (oldest < 0 || w.since.Before(writes[oldest].since)) {
				oldest = i
			}
		}
		cut := writes[oldest]
		cut.watchdog.cutWrite(cut.pendingWrite, errHeld)
		writes[oldest] = writes[len(writes)-1]
		writes = writes[:len(writes)-1]
	}
}

// held returns the writes that hold memory which only writes keep.
func (p *pendingWrites) held() []heldWrite {
	p.mu.Lock()
	defer p.mu.Unlock()
	var writes []heldWrite
	for watchdog, owner := range p.streams {
		if write := watchdog.pending(); write.holdsChunk() || write.holdsArray() {
			writes = append(writes, heldWrite{write, watchdog, owner})
		}
	}
	return writes
}

// sum returns the bytes that writes hold, in total and per owner. Shared memory counts
// once.
func sum(writes []heldWrite) (total int64, perOwner map[string]int64) {
	seen := make(map[heldBytes]bool, 4*len(writes))
	perOwner = make(map[string]int64)
	add := func(held heldBytes, owner string, bytes int64) {
		if !seen[held] {
			seen[held] = true
			total += bytes
		}
		held.owner = owner
		if !seen[held] {
			seen[held] = true
			perOwner[owner] += bytes
		}
	}
	for _, w := range writes {
		if w.holdsChunk() {
			add(heldBytes{chunk: w.chunk}, w.owner, w.chunk.size())
		}
		if w.holdsArray() {
			add(heldBytes{array: w.array}, w.owner, w.array.bytes)
		}
	}
	return total, perOwner
}
