package chatsvc

import "time"

const (
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

// crowdState decides when parked subscribers are woken. It is guarded by the broker's mu.
type crowdState struct {
	visible uint64      // records below this offset are released
	round   *round      // what parked subscribers wait for
	parked  int         // subscribers that wait for round
	crowd   int         // subscribers that keep up, parked or not
	census  uint64      // names the crowd; grows when slow ones are dropped
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

// releaseIfDue releases what is held if most of the crowd is parked and has had
// its rest. The caller holds mu.
func (b *broker) releaseIfDue() bool {
	if b.visible == b.hot.next || b.closedAt.IsZero() && (!b.isParked() || b.holdTime() > 0) {
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
	b.large = b.hot.next-b.visible >= largeRelease
	b.visible = b.hot.next
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
	if b.visible == b.hot.next || b.releaseIfDue() {
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
	if b.visible < b.hot.next {
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

// quit takes s out of the crowd until it parks again. The caller holds mu.
func (b *broker) quit(s *subscriber) {
	if s.census == b.census {
		b.crowd--
	}
	s.census = 0
}
