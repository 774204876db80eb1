package jetlog

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// firstRetained returns the offset of the oldest record that is known to be retained.
// The caller holds mu.
func (l *Log) firstRetained(info *jetstream.StreamInfo) uint64 {
	next := info.State.LastSeq + 1
	l.first = max(l.first, info.State.FirstSeq, 1, l.firstByCount(next))
	return min(l.first, next)
}

// firstByAge returns the lowest offset that the bound of age allows, or 0 if there
// is no such bound.
func (l *Log) firstByAge(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	if l.retention.Age == 0 {
		return 0, nil
	}
	oldest, err := l.directGet(ctx, directRequest{StartTime: time.Now().Add(-l.retention.Age).UTC(), Batch: 1})
	switch {
	case err != nil:
		return 0, err
	case len(oldest) == 0:
		return info.State.LastSeq + 1, nil
	}
	return oldest[0].Offset, nil
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

// firstByCount returns the lowest offset that the bound of messages allows when next
// is the next offset, or 0.
func (l *Log) firstByCount(next uint64) uint64 {
	if most := uint64(l.retention.Messages); most > 0 && next > most {
		return next - most
	}
	return 0
}

// firstBefore returns the offset of the oldest record that is known to be retained when
// next is the next offset.
func (l *Log) firstBefore(next uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(min(l.first, next), l.firstByCount(next), 1)
}
