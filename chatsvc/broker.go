package chatsvc

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

const (
	// drainTime is how long a subscriber that is behind is still served after close.
	drainTime = time.Second
	// longestGap is the largest number of consecutive records that may be missing in one
	// epoch.
	longestGap = 1 << 16
)

// broker delivers the log's records of one epoch to subscribers. The newest records are in
// memory, in the hot end. Older ones are read from the log through the cold cache. A
// subscriber is an offset: history and live records are the same read, and a subscriber
// that does not read costs nothing.
//
// Subscribers that have read everything park. Records are released to them when
// most of the crowd is parked. So an idle crowd gets a record at once, and a busy one
// gets larger batches instead of more wake-ups. The crowd is the set of subscribers
// that keep up. A subscriber that has not parked when a hold expires leaves the
// crowd, and returns only after it has kept up for a while: otherwise a client that
// closes and opens its window would delay all others each time. A small crowd gains
// nothing from batches and never waits.
//
// A crowd that has parked rests for as long as it was busy, and records that are published
// in that time are sent in one batch. So at most half of the time goes into deliveries
// until batches are large, and a message waits longer because it is held than because the
// machine is busy. After a large release the crowd rests twice as long, which reduces the
// CPU time for each delivery by a sixth.
type broker struct {
	crowdState // guarded by mu

	log          Log
	epoch        string
	logger       *slog.Logger
	acknowledged atomic.Uint64 // highest offset that was acknowledged to a sender
	cold         *coldCache
	replay       replayStart
	view         logView

	mu       sync.Mutex // guards all below
	hot      hotEnd
	first    uint64              // first offset that the log is known to retain
	arrived  chan struct{}       // closed by the next publish; nil if no goroutine waits
	closedAt time.Time           // zero until close
	reason   error               // why the broker was closed
	reported map[uint64]struct{} // first offsets of runs of records that were reported as unreadable
}

// memoryBounds bounds the memory of a broker, in bytes.
type memoryBounds struct {
	hot, cold int64
	record    int64 // the largest record that is accepted
}

func newBroker(log Log, state State, memory memoryBounds, replay Replay, logger *slog.Logger) *broker {
	b := &broker{
		log:      log,
		epoch:    state.Epoch,
		logger:   logger,
		hot:      hotEnd{limit: memory.hot, next: state.Next},
		first:    state.First,
		reported: make(map[uint64]struct{}),
		crowdState: crowdState{
			visible: state.Next,
			round:   &round{released: make(chan struct{})},
			census:  1,
		},
	}
	b.replay.bounds, b.replay.busy = replay, make(chan struct{}, 1)
	b.view.at = time.Now()
	b.cold = newColdCache(log, state.Epoch, memory, b.reportUnreadable, b.giveWay)
	b.hold = time.AfterFunc(time.Hour, b.endHold)
	b.hold.Stop()
	return b
}

// publish adds the log's next chunk.
func (b *broker) publish(c Chunk) error {
	fault.At(fault.Publishing)
	b.mu.Lock()
	defer b.mu.Unlock()
	due := b.hot.next
	switch {
	case c.From < due:
		return fmt.Errorf("records %d to %d: the log went back; record %d was expected", c.From, c.Next, due)
	case c.Next-c.From > longestGap+uint64(len(c.Entries)):
		return fmt.Errorf("records %d to %d: %w", c.From, c.Next, errGap)
	case c.From > due: // the log has removed the records between them
		b.hot.restart(c.From)
	}
	if b.visible == due && c.Next > due {
		b.held = time.Now()
	}
	eachRecord(c, b.reportLocked, b.hot.add)
	b.retain(c.First)
	for _, offset := range c.Redacted {
		b.hot.redact(offset)
		b.cold.redact(offset)
	}
	b.hot.evict()
	if b.hot.next == due {
		return nil
	}
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
	held := b.visible < due
	if !b.releaseIfDue() && !held {
		b.hold.Reset(b.holdTime())
	}
	return nil
}

// retain sets the first offset that the log retains. The caller holds mu.
func (b *broker) retain(first uint64) {
	if first > b.first {
		b.first = min(first, b.hot.next)
		b.cold.trim(b.first)
	}
}

// reportUnreadable logs a run of records that cannot be read, once.
func (b *broker) reportUnreadable(from, to uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reportLocked(from, to)
}

// maxReported is the largest number of runs that are logged.
const maxReported = 4096

// reportLocked is reportUnreadable for a caller that holds mu.
func (b *broker) reportLocked(from, to uint64) {
	_, known := b.reported[from]
	if known || len(b.reported) >= maxReported {
		return
	}
	b.reported[from] = struct{}{}
	b.logger.Error("records cannot be read: subscribers get an empty message for each", "first", from, "last", to-1)
}

// next returns the offset of the next record.
func (b *broker) next() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hot.next
}

// await returns when the record at offset has been published.
func (b *broker) await(ctx context.Context, offset uint64) error {
	for {
		arrived, err := b.arrival(offset)
		if arrived == nil || err != nil {
			return err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// arrival returns nil if the record at offset has been published, or else a channel
// that is closed by the next publish.
func (b *broker) arrival(offset uint64) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.hot.next > offset:
		return nil, nil //nolint:nilnil // nothing to wait for
	case !b.closedAt.IsZero():
		return nil, b.reason
	case b.arrived == nil:
		b.arrived = make(chan struct{})
	}
	return b.arrived, nil
}

// acknowledge notes that offset is about to be acknowledged to a sender.
func (b *broker) acknowledge(offset uint64) {
	for {
		highest := b.acknowledged.Load()
		if offset <= highest || b.acknowledged.CompareAndSwap(highest, offset) {
			return
		}
	}
}

// close ends all subscriptions with a reason. Each still gets the published records, for
// at most [drainTime]. It is called once.
func (b *broker) close(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closedAt, b.reason = time.Now(), reason
	time.AfterFunc(drainTime, b.cold.end)
	b.release()
	b.settle()
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
}
