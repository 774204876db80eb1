package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Replay bounds the history that a subscriber without an offset receives: the newest
// records within both bounds. Zero means no bound. The bound in bytes is exact while the
// records are in memory; otherwise it may be exceeded by 1/16.
type Replay struct {
	// Messages is the largest number of records.
	Messages int
	// Bytes is the largest sum of the records' sizes.
	Bytes int64
}

func (r Replay) validate() error {
	if r.Messages < 0 || r.Bytes < 0 {
		return fmt.Errorf("replay of %d messages, %d bytes: no bound may be negative, zero for none", r.Messages, r.Bytes)
	}
	return nil
}

// replayStart finds where a replay begins.
type replayStart struct {
	bounds Replay
	busy   chan struct{} // has one element while the log is asked

	mu    sync.Mutex // guards all below
	from  uint64     // the log's last answer
	at    time.Time  // when it came; zero before the first
	total int64      // hotEnd.total then
}

// replayFrom returns the offset at which a replay begins.
func (b *broker) replayFrom(ctx context.Context) (uint64, error) {
	from, known := b.replayKnown()
	if known {
		return from, nil
	}
	select {
	case b.replay.busy <- struct{}{}:
		defer func() { <-b.replay.busy }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if from, known = b.replayKnown(); known { // another subscriber has asked
		return from, nil
	}
	b.mu.Lock()
	next, total := b.hot.next, b.hot.total
	b.mu.Unlock()
	found, err := lastBytes(ctx, b.log, b.epoch, from, next, b.replay.bounds.Bytes)
	switch {
	case errors.Is(err, ErrEpoch):
		return 0, errNewEpoch
	case ctx.Err() != nil:
		return 0, ctx.Err()
	case err != nil:
		b.logger.Error("find the begin of the replay", "error", err)
		return 0, errCold
	}
	b.replay.mu.Lock()
	defer b.replay.mu.Unlock()
	b.replay.from, b.replay.at, b.replay.total = found, time.Now(), total
	return max(from, found), nil
}

// replayKnown returns where a replay begins and true, if that is known without asking the
// log. Otherwise it returns the lowest offset that the other bounds allow.
func (b *broker) replayKnown() (uint64, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	bounds := b.replay.bounds
	from := b.first
	if n := uint64(bounds.Messages); n > 0 && b.hot.next > n {
		from = max(from, b.hot.next-n)
	}
	if bounds.Bytes == 0 {
		return from, true
	}
	if floor := b.hot.floor(); from >= floor || b.hot.size(floor) > bounds.Bytes {
		return max(from, b.hot.lastBytes(bounds.Bytes)), true
	}
	r := &b.replay
	r.mu.Lock()
	defer r.mu.Unlock()
	added := b.hot.total - r.total
	known := !r.at.IsZero() && (added == 0 || added <= bounds.Bytes/slackShare && time.Since(r.at) < viewAge)
	if known {
		from = max(from, r.from)
	}
	return from, known
}

// lastBytes returns the lowest offset in [from, next] for which the sizes of the records
// from it to next add up to at most bytes.
func lastBytes(ctx context.Context, log Log, epoch string, from, next uint64, bytes int64) (uint64, error) {
	if sized, ok := log.(SizedLog); ok {
		found, err := sized.LastBytes(ctx, epoch, bytes)
		return max(from, found), err
	}
	for end := next; end > from; {
		begin := max(from, (end-1)/coldBlock*coldBlock)
		sizes, err := readSizes(ctx, log, epoch, begin, end)
		if err != nil {
			return 0, err
		}
		for i, size := range slices.Backward(sizes) {
			if bytes -= int64(size); bytes < 0 {
				return begin + uint64(i) + 1, nil
			}
		}
		end = begin
	}
	return from, nil
}

// readSizes returns the sizes of the records in [from, to).
func readSizes(ctx context.Context, log Log, epoch string, from, to uint64) ([]int, error) {
	sizes := make([]int, to-from)
	for at := from; at < to; {
		got, err := log.Read(ctx, epoch, at, to, 1<<20)
		if err != nil {
			return nil, err
		}
		for _, e := range got.Entries {
			sizes[e.Offset-from] = len(e.Record)
		}
		if got.Next <= at {
			break // the records were removed, or are not available yet
		}
		at = got.Next
	}
	return sizes, nil
}
