package jetlog

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

const (
	// readBatch is the largest number of records in one request.
	readBatch = 1024
	// recordOverhead is what JetStream counts at most for a record in a request,
	// beyond the record itself: its subject and headers.
	recordOverhead = 512
)

// Read implements [chatsvc.Log]. Any replica answers. Where it has less than the
// leader, which is asked too, the leader's records are returned.
func (l *Log) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	if err := l.checkCall(ctx, epoch); err != nil {
		return chatsvc.Chunk{}, err
	}
	r := reading{log: l, epoch: epoch, to: to, left: maxBytes}
	r.chunk.From = max(from, 1)
	r.chunk.Next = r.chunk.From
	for !r.full {
		more, err := r.step(ctx)
		if err != nil {
			return chatsvc.Chunk{}, err
		}
		if !more {
			break
		}
	}
	return r.chunk, nil
}

// checkCall returns an error if a call with epoch can only fail.
func (l *Log) checkCall(ctx context.Context, epoch string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.closed.Err() != nil {
		return ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isReplaced() {
		return errReplaced
	}
	if epoch != l.epoch {
		return fmt.Errorf("%w: it is %s, not %s", chatsvc.ErrEpoch, l.epoch, epoch)
	}
	return nil
}

// reading is one Read.
type reading struct {
	log   *Log
	epoch string
	to    uint64
	left  int // bytes that records may still have
	full  bool
	chunk chatsvc.Chunk
}

// step reads on. It reports whether there may be more.
func (r *reading) step(ctx context.Context) (more bool, err error) {
	if r.chunk.Next >= r.to {
		r.full = true
	}
	batch := int(min(r.to-min(r.to, r.chunk.Next), readBatch))
	var entries []chatsvc.Entry
	if batch > 0 {
		entries, err = r.log.directGet(ctx, directRequest{Sequence: r.chunk.Next, Batch: batch, MaxBytes: max(r.left, 0) + min(batch, 64)*recordOverhead})
		if err != nil {
			return false, err
		}
	}
	// The epoch is checked after the read: epochs do not come back.
	info, err := r.log.leaderInfo(ctx)
	if err != nil {
		return false, err
	}
	if epochOf(info) != r.epoch {
		r.log.noteReplaced(info)
		return false, errReplaced
	}
	if r.chunk.First = r.log.firstNow(info); !r.begin(info) {
		return false, nil
	}
	end := min(r.to, info.State.LastSeq+1)
	for _, e := range entries {
		if e.Offset < r.chunk.Next || e.Offset >= end {
			continue // it was removed, or is newer than the state that was read
		}
		if err := r.fill(ctx, e.Offset); err != nil {
			return false, err
		}
		if !r.add(e) {
			return false, nil
		}
	}
	if len(entries) == 0 && r.chunk.Next < end { // the replica has less than the leader
		if err := r.fill(ctx, end); err != nil {
			return false, err
		}
	}
	return r.chunk.Next < end, nil
}

// begin moves an empty chunk behind what was removed. It reports false if the
// chunk cannot be continued.
func (r *reading) begin(info *jetstream.StreamInfo) bool {
	floor := min(max(info.State.FirstSeq, 1), info.State.LastSeq+1)
	if r.chunk.Next >= floor {
		return true
	}
	if r.chunk.Next > r.chunk.From {
		return false
	}
	r.chunk.From, r.chunk.Next = floor, floor
	return true
}

// fill adds what the leader has below offset. What it does not have cannot be read.
func (r *reading) fill(ctx context.Context, offset uint64) error {
	for r.chunk.Next < offset && !r.full {
		e, found, err := r.log.nextAtLeader(ctx, r.chunk.Next)
		if err != nil {
			return err
		}
		if !found || e.Offset >= offset {
			r.chunk.Next = offset
			return nil
		}
		r.add(e)
	}
	return nil
}

// add adds a record, and passes over offsets before it that cannot be read. It
// reports false if the record does not fit.
func (r *reading) add(e chatsvc.Entry) bool {
	if r.full {
		return false
	}
	if len(e.Record) > r.left && len(r.chunk.Entries) > 0 {
		r.full = true
		return false
	}
	r.left -= len(e.Record)
	r.chunk.Entries = append(r.chunk.Entries, e)
	r.chunk.Next = e.Offset + 1
	r.full = r.left < 0
	return true
}

// firstNow returns the offset of the oldest record that is retained.
func (l *Log) firstNow(info *jetstream.StreamInfo) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if epochOf(info) != l.epoch {
		return min(max(info.State.FirstSeq, 1), info.State.LastSeq+1)
	}
	return l.firstRetained(info)
}
