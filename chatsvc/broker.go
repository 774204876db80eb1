package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

const (
	// drainTime is how long a subscriber that is behind is served after close.
	drainTime = time.Second
	// longestGap is the largest number of records in a row that may be missing in
	// one epoch.
	longestGap = 1 << 16
)

// broker hands the log's records to subscribers, in one epoch. The newest are in
// memory, the hot end; older ones are read from the log, through the cold cache. A
// subscriber is an offset: history and live records are the same read, and one that
// does not read costs nothing.
//
// Subscribers that have read everything park. Records are released to them when
// most of the crowd is parked: an idle crowd gets a record at once, a busy one
// gets larger batches instead of more wake-ups. The crowd is the set of subscribers
// that keep up. A subscriber that has not parked when a hold expires leaves the
// crowd, and counts again only after it has kept up for a while: otherwise one that
// closes and opens its window would delay all others each time. A small crowd gains
// nothing from batches and waits for nobody.
//
// A crowd that has parked rests for as long as it was busy: records that come in
// that time leave in one batch. So at most half of the time goes into deliveries
// until batches are large, and a message waits less for the machine than it is held.
// After a large release it rests twice as long, which takes a sixth off the CPU
// time for each delivery.
type broker struct {
	crowdState // guarded by mu

	log          Log
	epoch        string
	logger       *slog.Logger
	acknowledged atomic.Uint64 // highest offset that a sender was told
	cold         *coldCache
	replay       replayStart
	view         logView

	mu       sync.Mutex // guards all below
	hot      hotEnd
	first    uint64              // first offset that the log is known to retain
	arrived  chan struct{}       // closed by the next publish; nil while nobody waits
	closedAt time.Time           // zero until close
	reason   error               // told to subscribers after it
	reported map[uint64]struct{} // where runs of records begin that were reported as unreadable
}

// memoryBounds are the bounds of what a broker holds of the log, in bytes.
type memoryBounds struct {
	hot, cold int64
	record    int64 // the largest record that is accepted
}

// subscriber is a place in the log. It is guarded by the broker's mu.
type subscriber struct {
	owner string // its user and address
	next  uint64 // offset of the record to read next
	until uint64 // offset before which the stream ends
	begun bool   // it has read something
	// leaving tells that it ends when it has read all. Only its own goroutine sets it.
	leaving bool
	piece   *piece // that it waits for or writes, of the cold cache
	round   *round // that it parked in, if it has not read since
	census  uint64 // of the crowd that it belongs to; 0: none
	// absentUntil is how long it stays out of the crowd, after it was late so many
	// times in a row.
	absentUntil time.Time
	absences    int
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
	b.replay.bounds, b.replay.turn = replay, make(chan struct{}, 1)
	b.view.at = time.Now()
	b.cold = newColdCache(log, state.Epoch, memory, b.reportUnreadable, b.giveWay)
	b.hold = time.AfterFunc(time.Hour, b.endHold)
	b.hold.Stop()
	return b
}

// publish takes the log's next chunk.
func (b *broker) publish(c Chunk) error {
	fault.At(fault.Publishing)
	b.mu.Lock()
	defer b.mu.Unlock()
	due := b.hot.next
	switch {
	case c.From < due:
		return fmt.Errorf("records %d to %d: the log went back, record %d was due", c.From, c.Next, due)
	case c.Next-c.From > longestGap+uint64(len(c.Entries)):
		return fmt.Errorf("records %d to %d: %w", c.From, c.Next, errGap)
	case c.From > due: // the log has removed the records between them since
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

// retain notes the first offset that the log retains. The caller holds mu.
func (b *broker) retain(first uint64) {
	if first > b.first {
		b.first = min(first, b.hot.next)
		b.cold.trim(b.first)
	}
}

// reportUnreadable logs records that cannot be read, each run of them once.
func (b *broker) reportUnreadable(from, to uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reportLocked(from, to)
}

// maxReported bounds what reportLocked remembers. Damage beyond it is no longer
// logged: by then the log has said enough.
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

// subscribe returns a subscriber that reads from offset from, which its client was
// told, to below until. The caller calls leave in the end.
func (b *broker) subscribe(owner string, from, until uint64) *subscriber {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &subscriber{owner: owner, next: min(from, b.hot.next), until: until}
}

// errUntil ends a stream that has all that it asked for.
var errUntil = errors.New("all that was asked for was sent")

// read returns the next batch for s. An empty one comes with a channel that is
// closed when there is more: s reads again then, or leaves. It fails with errUntil
// at the end of what s asked for, with [errFellBehind] if the record that s would
// read next was removed, and with the reason of close after it.
func (b *broker) read(s *subscriber) (batch, <-chan struct{}, error) {
	b.mu.Lock()
	b.unpark(s)
	// A subscriber sees all when it begins and when it ends, and what is released
	// while it keeps up.
	end := b.visible
	if !s.begun || s.leaving {
		end = b.hot.next
	}
	end = min(end, s.until)
	switch {
	case s.next >= s.until:
		b.mu.Unlock()
		return batch{}, nil, errUntil
	case !b.closedAt.IsZero() && (s.next >= b.visible || time.Since(b.closedAt) > drainTime):
		defer b.mu.Unlock()
		return batch{}, nil, b.reason
	}
	if s.next >= end {
		b.letGo(s)
		b.park(s) // which may release what is held
		end = min(b.visible, s.until)
		if s.next >= end && s.round == nil {
			b.park(s) // it has all of that: without it nobody would wake it
		}
	}
	if s.next < max(b.hot.floor(), b.first) && s.next < end {
		if s.census > 0 { // it kept up once
			s.late()
		}
		b.quit(s)
		b.mu.Unlock()
		fault.At(fault.GoingCold)
		return b.readCold(s, end)
	}
	defer b.mu.Unlock()
	b.letGo(s)
	got := b.hot.batch(s.next, end)
	if got.count > 0 && b.hot.isFull() {
		b.hot.evict()
	}
	if got.count > 0 && s.next+uint64(got.count) < end {
		b.ask() // records before the end may have expired
	}
	s.next += uint64(got.count)
	s.begun = true
	return got, b.round.released, nil
}

// seeAll shows s what is not released yet: its stream ends next.
func (b *broker) seeAll(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.leaving = true
}

// readCold is read for records that are not in memory.
func (b *broker) readCold(s *subscriber, end uint64) (batch, <-chan struct{}, error) {
	for {
		if s.piece == nil {
			s.piece = b.cold.hold(s.owner, s.next, end, s.begun)
		}
		p := s.piece
		if !p.isLoaded() {
			return batch{}, p.loaded, nil
		}
		switch {
		case p.err != nil:
			b.letGo(s)
			return batch{}, nil, b.coldError(p.err)
		case p.contains(s.next):
			got := p.chunk.batch(s.next, end)
			s.next += uint64(got.count)
			s.begun = true
			return got, nil, nil
		case s.next < p.chunk.base && p.from <= s.next:
			b.letGo(s)
			return batch{}, nil, errFellBehind
		}
		s.begun = s.begun || p.from <= s.next // the block is cut before the record
		b.letGo(s)
	}
}

// coldError returns why s ends where a read of the log failed.
func (b *broker) coldError(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closedAt.IsZero() {
		return b.reason
	}
	if errors.Is(err, errCold) {
		b.logger.Error("read the log", "error", err)
	}
	return err
}

// letGo ends the hold that s has of a piece.
func (b *broker) letGo(s *subscriber) {
	if s.piece != nil {
		b.cold.release(s.piece)
		s.piece = nil
	}
}

// unload ends the hold that s has of records in memory, which it has copied.
func (b *broker) unload(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letGo(s)
}

// leave forgets s.
func (b *broker) leave(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.letGo(s)
	b.unpark(s)
	b.quit(s)
	b.releaseIfDue() // s may have been the one that the others wait for
}

// acknowledge notes that a sender is about to be told of offset.
func (b *broker) acknowledge(offset uint64) {
	for {
		highest := b.acknowledged.Load()
		if offset <= highest || b.acknowledged.CompareAndSwap(highest, offset) {
			return
		}
	}
}

// close ends all subscriptions for a reason: each gets what is published, for at
// most [drainTime]. It is called once.
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

// noUntil is the until of a stream without an end.
const noUntil = math.MaxUint64
