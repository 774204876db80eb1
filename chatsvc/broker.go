package chatsvc

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simplechat/chatsvc/internal/record"
)

const (
	// drainTime is how long a subscriber who is behind is served after close.
	drainTime = time.Second
	// crowdShare is the part of the crowd, in per cent, that must be parked
	// before records are released to it.
	crowdShare = 90
	// longestHold is how long a record may wait for the crowd; for one of over
	// 5,000 it is holdEach for each of them, about what a write takes.
	longestHold = 100 * time.Millisecond
	holdEach    = 20 * time.Microsecond
	// largeRelease is the number of records from which a release is large.
	largeRelease = 64
)

// broker hands the log's records to subscribers. History and live records are
// the same read, and a subscriber who does not read costs nothing.
//
// Subscribers who have read everything park. Records are released to them when
// most of the crowd is parked: an idle crowd gets a record at once, a busy one
// gets larger batches instead of more wake-ups. The crowd is who keeps up:
// where records were held for longestHold, who is still on the way no longer
// belongs to it until it parks again, so slow subscribers delay nobody twice.
//
// A crowd that has parked rests for as long as it was busy: what comes meanwhile
// goes out in one batch. So at most half of the time goes into deliveries until
// batches are large, and a message waits less for the machine than it is held.
// After a large release it rests twice as long, which takes a sixth off the CPU
// time for each delivery.
type broker struct {
	epoch        string
	acknowledged atomic.Uint64 // highest offset that a sender was told

	mu       sync.Mutex // guards all below
	tail     tail
	expiry   *time.Timer   // trims when the oldest record is too old; nil while not armed
	arrived  chan struct{} // closed by the next publish; nil while nobody waits
	closedAt time.Time     // zero until close
	reason   error         // what subscribers are told after it

	visible uint64      // records below this offset are released
	round   *round      // what parked subscribers wait for
	parked  int         // subscribers who wait for round
	crowd   int         // subscribers who keep up, parked or not
	census  uint64      // names the crowd; grows when those who are slow are dropped
	hold    *time.Timer // ends the wait for the crowd
	held    time.Time   // when the oldest of the records that are held was published

	releasedAt time.Time // when the crowd was woken last; zero when it has parked since
	large      bool      // the last release was
	restsUntil time.Time // when it may be woken again
}

// round is one wait of parked subscribers.
type round struct {
	released chan struct{} // closed when there is more to read
	census   uint64        // of the crowd that waited; set by the release
}

// subscriber is a place in the log. It is guarded by the broker's mu.
type subscriber struct {
	next   uint64 // offset of the record to read next
	round  *round // that it parked in, if it has not read since
	census uint64 // of the crowd that it belongs to
}

func newBroker(epoch string, next uint64, retention Retention) *broker {
	b := &broker{
		epoch:   epoch,
		tail:    tail{retention: retention, first: next, next: next},
		visible: next,
		round:   &round{released: make(chan struct{})},
		census:  1,
	}
	b.hold = time.AfterFunc(longestHold, b.endHold)
	b.hold.Stop()
	return b
}

// publish takes the log's next record. One that is no record is not sent to
// anyone: the history begins anew behind it, who would read it or an older one
// is told that it is gone, and the error is for the server's log.
func (b *broker) publish(e Entry) error {
	_, err := record.Parse(e.Record)
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.Offset < b.tail.next {
		return fmt.Errorf("record at offset %d: the log went back, offset %d was due", e.Offset, b.tail.next)
	}
	due := b.tail.next
	if b.visible == due {
		b.held = time.Now()
	}
	switch {
	case err != nil:
		b.tail.restart(e.Offset + 1)
		err = fmt.Errorf("record at offset %d: %w", e.Offset, err)
	case e.Offset > due && b.tail.chunks != nil: // else the log has let go of its oldest since it was asked
		err = fmt.Errorf("%w: offset %d came where %d was due", errGap, e.Offset, due)
		fallthrough
	default:
		b.tail.append(e)
		b.trim()
	}
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
	held := b.visible < due
	if !b.releaseIfDue() && !held {
		b.hold.Reset(b.holdTime())
	}
	return err
}

// releaseIfDue releases what is held if most of the crowd is parked and has had
// its rest. The caller holds mu.
func (b *broker) releaseIfDue() bool {
	if b.visible == b.tail.next || b.closedAt.IsZero() && (!b.isParked() || b.holdTime() > 0) {
		return false
	}
	b.release()
	return true
}

// isParked reports whether most of the crowd is parked. The caller holds mu.
func (b *broker) isParked() bool { return b.parked*100 >= b.crowd*crowdShare }

// holdTime returns for how long what is held stays so: until the crowd has
// rested, or until longestHold has passed. The caller holds mu.
func (b *broker) holdTime() time.Duration {
	longest := time.Until(b.held.Add(b.longestHold()))
	if !b.isParked() {
		return longest
	}
	return min(longest, time.Until(b.restsUntil))
}

// longestHold returns how long a record may wait for the crowd. The caller holds
// mu.
func (b *broker) longestHold() time.Duration {
	return max(longestHold, time.Duration(b.crowd)*holdEach)
}

// release makes all records visible and wakes who is parked. The caller holds
// mu.
func (b *broker) release() {
	b.large = b.tail.next-b.visible >= largeRelease
	b.visible = b.tail.next
	b.hold.Stop()
	if b.parked == 0 {
		return
	}
	b.round.census = b.census
	close(b.round.released)
	b.round = &round{released: make(chan struct{})}
	b.parked = 0
	b.releasedAt = time.Now()
}

// endHold releases what was held for long enough, and drops from the crowd who
// is not parked by then.
func (b *broker) endHold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.visible == b.tail.next || b.releaseIfDue() {
		return
	}
	if more := b.holdTime(); more > 0 {
		b.hold.Reset(more)
		return
	}
	b.census++
	b.crowd = b.parked
	b.release()
}

// trim applies the retention, and sees to it that age is applied when nothing
// else happens. The caller holds mu.
func (b *broker) trim() {
	if b.tail.retention == (Retention{}) {
		return
	}
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

// await returns when the record at offset is in the tail.
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

// arrival returns nil if the record at offset is in the tail, or else a channel
// that is closed by the next publish.
func (b *broker) arrival(offset uint64) (<-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.tail.next > offset:
		return nil, nil //nolint:nilnil // nothing to wait for
	case !b.closedAt.IsZero():
		return nil, b.reason
	case b.arrived == nil:
		b.arrived = make(chan struct{})
	}
	return b.arrived, nil
}

// subscribe returns a subscriber at position p, and the first batch for it,
// empty if there is nothing yet. The caller calls leave in the end.
func (b *broker) subscribe(p position) (*subscriber, batch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trim()
	first := b.tail.batch(p.resolve(b.epoch, b.tail.first, b.tail.next), b.tail.next)
	return &subscriber{next: first.offset + uint64(first.count)}, first
}

// read returns the next batch for s. An empty one comes with a channel that is
// closed when there is more: s is parked until it reads again or leaves. It
// fails with [errFellBehind] if what s would read next is gone, and with the
// reason of close after it.
func (b *broker) read(s *subscriber) (batch, <-chan struct{}, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unpark(s)
	if s.next < b.tail.floor() {
		return batch{}, nil, errFellBehind
	}
	if s.next >= b.visible {
		b.park(s)
	}
	if !b.closedAt.IsZero() && (s.next >= b.visible || time.Since(b.closedAt) > drainTime) {
		return batch{}, nil, b.reason
	}
	got := b.tail.batch(s.next, b.visible)
	s.next += uint64(got.count)
	return got, b.round.released, nil
}

// park counts s as waiting, which may release what is held. The caller holds mu.
func (b *broker) park(s *subscriber) {
	if s.census != b.census {
		s.census = b.census
		b.crowd++
	}
	s.round = b.round
	b.parked++
	b.rest()
	if b.releaseIfDue() {
		b.unpark(s)
	}
}

// rest begins the crowd's rest when most of it has parked after a release. The
// caller holds mu.
func (b *broker) rest() {
	if b.releasedAt.IsZero() || !b.isParked() {
		return
	}
	now := time.Now()
	rest := now.Sub(b.releasedAt)
	if b.large {
		rest *= 2
	}
	b.restsUntil = now.Add(min(rest, b.longestHold()))
	b.releasedAt = time.Time{}
	if b.visible < b.tail.next {
		b.hold.Reset(max(b.holdTime(), 0))
	}
}

// unpark ends the wait of s, if it does. The caller holds mu.
func (b *broker) unpark(s *subscriber) {
	switch s.round {
	case nil:
		return
	case b.round:
		b.parked--
	default:
		s.census = s.round.census
	}
	s.round = nil
}

// leave forgets s.
func (b *broker) leave(s *subscriber) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unpark(s)
	if s.census == b.census {
		b.crowd--
	}
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

// close ends all subscriptions for a reason: each gets what is in the tail, for
// at most [drainTime]. It is called once.
func (b *broker) close(reason error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.expiry != nil {
		b.expiry.Stop()
	}
	b.closedAt, b.reason = time.Now(), reason
	b.release()
	if b.arrived != nil {
		close(b.arrived)
		b.arrived = nil
	}
}
