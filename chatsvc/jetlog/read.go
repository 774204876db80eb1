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
	// recordOverhead is the most that JetStream counts for the subject and the headers
	// of a record in a request, in bytes.
	recordOverhead = 512
)

// Read implements [chatsvc.Log]. Any replica may answer. If it lacks records that the
// leader has, they are read from the leader.
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
	if l.isEpochOver() {
		return errNewEpoch
	}
	if epoch != l.epoch {
		return fmt.Errorf("%w: it is %s, not %s", chatsvc.ErrEpoch, l.epoch, epoch)
	}
	return nil
}

// reading is one call of Read.
type reading struct {
	log   *Log
	epoch string
	to    uint64
	left  int // bytes that further records may have
	full  bool
	chunk chatsvc.Chunk
}

// step reads the next records. It reports whether there may be more.
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
	// The epoch is checked after the read: an epoch that has ended does not return.
	info, err := r.log.leaderInfo(ctx)
	if err != nil {
		return false, err
	}
	if epochOf(info) != r.epoch {
		r.log.noteEpoch(info)
		return false, errNewEpoch
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

// begin moves an empty chunk past records that were removed. It reports false if the
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

// fill adds the records below offset that the leader has. The others cannot be read.
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

// add adds a record, and skips offsets before it that cannot be read. It
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
