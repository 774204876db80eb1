package jetlog

import (
	"context"
	"fmt"

	"example.com/simplechat/chatsvc"
)

// passLostEnd yields the last offsets of the stream as records that cannot be
// read, if the leader does not have them either. No consumer delivers them. It reports
// whether the leader has a record that the consumer has not delivered.
func (f *streamFollower) passLostEnd(ctx context.Context) (isBehind bool, err error) {
	f.log.mu.Lock()
	isBehind = f.log.epoch == f.epoch && f.next <= f.log.highest
	f.log.mu.Unlock()
	if !isBehind {
		return false, nil
	}
	info, err := f.log.checkEpoch(ctx, f.epoch, f.next)
	if err != nil {
		return true, err
	}
	_, found, err := f.log.nextAtLeader(ctx, f.next)
	if err != nil || found {
		return found, err
	}
	end := info.State.LastSeq + 1
	f.next = min(max(f.next, info.State.FirstSeq), end)
	if end-f.next > largestGap {
		return false, f.log.beginEpochAfterLoss(ctx, f.epoch, fmt.Errorf("offsets %d to %d are missing", f.next, end-1))
	}
	f.log.logger.Error("records of the stream are missing and cannot be read", "from", f.next, "to", end-1)
	return false, f.handChunk(chatsvc.Chunk{From: f.next, Next: end})
}

// passGap yields the offsets before offset that the consumer did not deliver. It skips
// records that the retention has removed. It reads the others from the leader; those that
// the leader does not have cannot be read.
func (f *streamFollower) passGap(ctx context.Context, offset uint64) error {
	if f.next >= offset {
		return nil
	}
	info, err := f.log.checkEpoch(ctx, f.epoch, offset)
	if err != nil {
		return err
	}
	f.next = min(max(f.next, info.State.FirstSeq), offset)
	for f.next < offset {
		e, found, err := f.log.nextAtLeader(ctx, f.next)
		if err != nil {
			return err
		}
		if !found || e.Offset > offset {
			e = chatsvc.Entry{Offset: offset}
		}
		if e.Offset-f.next > largestGap {
			return f.log.beginEpochAfterLoss(ctx, f.epoch, fmt.Errorf("offsets %d to %d are missing", f.next, e.Offset-1))
		}
		chunk := chatsvc.Chunk{From: f.next, Next: e.Offset}
		if e.Offset < offset {
			chunk.Next, chunk.Entries = e.Offset+1, []chatsvc.Entry{e}
		} else {
			f.log.logger.Error("records of the stream are missing and cannot be read", "from", f.next, "to", offset-1)
		}
		if err := f.handChunk(chunk); err != nil {
			return err
		}
	}
	return nil
}
