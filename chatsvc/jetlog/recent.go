package jetlog

import (
	"sync"
	"time"

	"example.com/simplechat/chatsvc"
)

const (
	// recentRecords and recentBytes bound what is kept of the last records.
	recentRecords = 8192
	recentBytes   = 16 << 20
)

// recent is what this process has stored last, in the stream's order. Where it
// is the only one that stores, those who follow read the records here, once they
// are acknowledged, and need not ask JetStream for what it was just given.
type recent struct {
	mu      sync.Mutex // guards all below
	stored  uint64     // highest offset that is acknowledged
	entries []chatsvc.Entry
	dropped int           // entries before this one are dropped
	bytes   int           // sum of the sizes of the others
	grown   chan struct{} // closed when stored changes; nil while nobody waits
}

// add adds records that were acknowledged, in the stream's order.
func (r *recent) add(appends []*pendingAppend) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	stored := r.stored
	for _, a := range appends {
		offset := a.appended.Offset
		if offset <= stored {
			continue // known: a duplicate, or found in the stream before its acknowledgement came
		}
		if a.appended.Duplicate || offset != stored+1 {
			r.clear() // what is between was not acknowledged: the stream has it
		}
		if !a.appended.Duplicate {
			r.entries = append(r.entries, chatsvc.Entry{Offset: offset, Time: now, Record: a.record})
			r.bytes += len(a.record)
		}
		stored = offset
	}
	r.trim()
	r.advance(stored)
}

// set says that the stream ends with offset.
func (r *recent) set(offset uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if offset != r.stored {
		r.clear()
	}
	r.advance(offset)
}

// advance sets stored, and wakes who waits for another one. The caller holds mu.
func (r *recent) advance(offset uint64) {
	if offset == r.stored {
		return
	}
	r.stored = offset
	if r.grown != nil {
		close(r.grown)
		r.grown = nil
	}
}

// clear drops all records. The caller holds mu.
func (r *recent) clear() { r.entries, r.dropped, r.bytes = nil, 0, 0 }

// trim drops the oldest records beyond the bounds. The caller holds mu.
func (r *recent) trim() {
	for len(r.entries)-r.dropped > recentRecords || r.bytes > recentBytes && len(r.entries)-r.dropped > 1 {
		r.bytes -= len(r.entries[r.dropped].Record)
		r.entries[r.dropped] = chatsvc.Entry{} // let the record go
		r.dropped++
	}
	if r.dropped > recentRecords {
		r.entries = append(r.entries[:0], r.entries[r.dropped:]...)
		r.dropped = 0
	}
}

// read copies records from offset next on into batch. It returns false if the
// first of them is not here any more. Where there is none yet, the channel is
// closed when there is.
func (r *recent) read(next uint64, batch []chatsvc.Entry) (n int, grown <-chan struct{}, here bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.entries[r.dropped:]
	switch {
	case next > r.stored:
		return 0, r.wait(), true
	case len(kept) == 0 || next < kept[0].Offset:
		return 0, nil, false
	default:
		return copy(batch, kept[next-kept[0].Offset:]), nil, true
	}
}

// last returns the highest offset that is acknowledged.
func (r *recent) last() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stored
}

// wait returns grown. The caller holds mu.
func (r *recent) wait() <-chan struct{} {
	if r.grown == nil {
		r.grown = make(chan struct{})
	}
	return r.grown
}
