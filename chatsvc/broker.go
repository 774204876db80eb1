package chatsvc

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// broker hands the log's records to subscribers. A subscriber is nothing but
// an absolute offset: history and live records are the same read, and a
// subscriber who does not read costs nothing.
type broker struct {
	epoch string

	mu     sync.Mutex // guards all below
	tail   tail
	grown  chan struct{} // closed and replaced when the tail grows
	expiry *time.Timer   // trims when the oldest record is too old; nil while not armed

	closed   chan struct{} // closed by close
	closedAt time.Time     // set before closed is closed
}

// drainTime is how long a subscriber who is behind is served after close.
const drainTime = time.Second

func newBroker(epoch string, next uint64, retention Retention) *broker {
	return &broker{
		epoch:  epoch,
		tail:   tail{retention: retention, first: next, next: next},
		grown:  make(chan struct{}),
		closed: make(chan struct{}),
	}
}

// publish makes the log's next record visible to all subscribers. One that is
// no record is not sent to anyone: the history begins anew behind it, who would
// read it or an older one is told that it is gone, and the error is for the
// server's log.
func (b *broker) publish(e Entry) error {
	_, err := parseRecord(e.Record)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Offset < b.tail.next {
		return fmt.Errorf("record at offset %d: the log went back, offset %d was due", e.Offset, b.tail.next)
	}
	due := b.tail.next
	if err != nil {
		b.tail.restart(e.Offset + 1)
		err = fmt.Errorf("record at offset %d: %w", e.Offset, err)
	} else {
		b.tail.append(e)
		b.trim()
	}
	close(b.grown)
	b.grown = make(chan struct{})
	if err == nil && e.Offset > due {
		return fmt.Errorf("%w: offset %d came where %d was due", errGap, e.Offset, due)
	}
	return err
}

// trim applies the retention, and sees to it that age is applied when nothing
// else happens. The caller holds mu.
func (b *broker) trim() {
	now := time.Now()
	b.tail.trim(now)
	oldest, ok := b.tail.oldest()
	if b.tail.retention.Age == 0 || !ok || b.expiry != nil {
		return
	}
	b.expiry = time.AfterFunc(oldest.Add(b.tail.retention.Age).Sub(now), func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.expiry = nil
		b.trim()
	})
}

// next returns the offset of the next record.
func (b *broker) next() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tail.next
}

// await returns when the record at offset is visible.
func (b *broker) await(ctx context.Context, offset uint64) error {
	for {
		b.mu.Lock()
		next, grown := b.tail.next, b.grown
		b.mu.Unlock()
		if next > offset {
			return nil
		}
		select {
		case <-grown:
		case <-b.closed:
			return errShutdown
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe returns the first batch from position p on, empty if there is
// nothing yet.
func (b *broker) subscribe(p position) batch {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim()
	return b.tail.batch(p.resolve(b.epoch, b.tail.first, b.tail.next))
}

// read returns the batch at offset. An empty one comes with a channel that is
// closed when there is more. It fails with [errFellBehind] if the records at
// offset are gone, and with [errShutdown] after close.
func (b *broker) read(offset uint64) (batch, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if offset < b.tail.floor() {
		return batch{}, nil, errFellBehind
	}
	got := b.tail.batch(offset)
	if b.isClosed() && (got.count == 0 || time.Since(b.closedAt) > drainTime) {
		return batch{}, nil, errShutdown
	}
	return got, b.grown, nil
}

func (b *broker) isClosed() bool {
	select {
	case <-b.closed:
		return true
	default:
		return false
	}
}

// close ends all subscriptions: each gets what is in the tail, for at most
// [drainTime]. It is called once.
func (b *broker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expiry != nil {
		b.expiry.Stop()
	}
	b.closedAt = time.Now()
	close(b.closed)
}
