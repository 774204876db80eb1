package chatsvc

import (
	"context"
	"runtime"
	"time"
)

const (
	// crowdShare is the percentage of the crowd that must be parked before records are
	// released to it.
	crowdShare = 90
	// smallCrowd is the size below which a crowd never waits: it would gain nothing from
	// larger batches.
	smallCrowd = 64
	// A record waits for the crowd for at most holdEach per subscriber, up to plateauHold.
	// In very large crowds it waits for writeEach per subscriber, which is about the time
	// of a write, up to longestHold.
	holdEach    = 100 * time.Microsecond
	plateauHold = 100 * time.Millisecond
	writeEach   = 20 * time.Microsecond
	longestHold = 250 * time.Millisecond
	// largeRelease is the smallest number of records in a large release.
	largeRelease = 64
	// fewLate is the largest percentage of late subscribers for which the subscribers are
	// to blame. If more are late, the machine is.
	fewLate = 25
	// A subscriber that was late stays out of the crowd for shortestAbsence, and twice
	// as long each time it is late again, up to longestAbsence. After lateMemory without
	// being late, the first absence is short again.
	shortestAbsence = time.Second
	longestAbsence  = time.Minute
	lateMemory      = 2 * time.Minute
	// coldPause is how long cold reads wait for the crowd after a release, at most.
	coldPause = 50 * time.Millisecond
)

// crowdState decides when parked subscribers are woken. It is guarded by the broker's mu.
type crowdState struct {
	visible uint64      // records below this offset are released
	round   *round      // the wait of parked subscribers
	waiting int         // number of subscribers that wait for round
	parked  int         // number of them that are in the crowd
	crowd   int         // number of subscribers that keep up, parked or not
	census  uint64      // number of the current crowd; increases when late subscribers are dropped
	excused uint64      // subscribers that were dropped from this census or an older one are not to blame
	hold    *time.Timer // ends the wait for the crowd
	held    time.Time   // when the oldest held record was published

	releasedAt time.Time     // when the crowd was woken last; zero if it has parked since
	large      bool          // the last release was large
	restsUntil time.Time     // when the crowd may be woken again
	settled    chan struct{} // closed when the crowd has parked after a release; nil if no cold read waits for that

	releases, wakeups uint64 // number of releases, and of subscribers woken by them
}

// round is one wait of parked subscribers.
type round struct {
	released chan struct{} // closed when there is more to read
	census   uint64        // of the crowd that waited; set by the release
}

// releaseIfDue releases the held records if most of the crowd is parked and has rested. It
// reports whether it did. The caller holds mu.
func (b *broker) releaseIfDue() bool {
	if b.visible == b.hot.next {
		return false
	}
	if b.closedAt.IsZero() && b.crowd >= smallCrowd && (!b.isParked() || b.holdTime() > 0) {
		return false
	}
	b.release()
	return true
}

// isParked reports whether most of the crowd is parked. The caller holds mu.
func (b *broker) isParked() bool { return b.parked*100 >= b.crowd*crowdShare }

// holdTime returns how long the held records stay held: until the crowd has
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
	each := func(d time.Duration) time.Duration { return d * time.Duration(b.crowd) }
	return min(max(min(each(holdEach), plateauHold), each(writeEach)), longestHold)
}

// release makes all records visible and wakes the waiting subscribers. The caller holds
// mu.
func (b *broker) release() {
	b.large = b.hot.next-b.visible >= largeRelease
	b.visible = b.hot.next
	b.hold.Stop()
	if b.waiting == 0 {
		return
	}
	b.releases++
	b.wakeups += uint64(b.waiting)
	b.round.census = b.census
	close(b.round.released)
	b.round = &round{released: make(chan struct{})}
	b.parked, b.waiting = 0, 0
	b.releasedAt = time.Now()
}

// endHold releases records that were held long enough, and drops subscribers that have
// not parked from the crowd.
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
	if late := b.crowd - b.parked; late*100 > b.crowd*fewLate {
		b.excused = b.census
	}
	b.census++
	b.crowd = b.parked
	b.release()
}

// park counts s as waiting. That may release the held records. The caller holds mu.
func (b *broker) park(s *subscriber) {
	if s.census != b.census {
		b.join(s)
	}
	s.round = b.round
	b.waiting++
	if s.census == b.census {
		b.parked++
		b.rest()
	}
	if b.releaseIfDue() {
		b.unpark(s)
	}
}

// join adds s to the crowd, unless it was late recently. The caller holds mu.
func (b *broker) join(s *subscriber) {
	if s.census > b.excused {
		s.late()
	}
	s.census = 0
	if s.absences > 0 && time.Now().Before(s.absentUntil) {
		return
	}
	s.census = b.census
	b.crowd++
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
	b.settle()
	if b.visible < b.hot.next {
		b.hold.Reset(max(b.holdTime(), 0))
	}
}

// unpark ends the wait of s, if it waits. The caller holds mu.
func (b *broker) unpark(s *subscriber) {
	switch s.round {
	case nil:
		return
	case b.round:
		b.waiting--
		if s.census == b.census {
			b.parked--
		}
	default:
		if s.census > 0 {
			s.census = s.round.census
		}
	}
	s.round = nil
}

// quit removes s from the crowd until it parks again. The caller holds mu.
func (b *broker) quit(s *subscriber) {
	if s.census == b.census {
		b.crowd--
	}
	s.census = 0
}

// settle lets cold reads begin. The caller holds mu.
func (b *broker) settle() {
	if b.settled != nil {
		close(b.settled)
		b.settled = nil
	}
}

// giveWay returns when a cold read may begin. It waits while a release is written to the
// crowd, for at most coldPause, because a read would take the processor from all
// subscribers that wait for their batch. It always lets other goroutines run first: a cold
// reader and its reads wake each other, and the scheduler prefers goroutines that were
// just woken to those that have waited.
func (b *broker) giveWay(ctx context.Context) {
	runtime.Gosched()
	for {
		b.mu.Lock()
		left := coldPause - time.Since(b.releasedAt)
		if b.crowd < smallCrowd || b.releasedAt.IsZero() || left <= 0 || !b.closedAt.IsZero() {
			b.mu.Unlock()
			return
		}
		if b.settled == nil {
			b.settled = make(chan struct{})
		}
		settled := b.settled
		b.mu.Unlock()
		select {
		case <-settled:
		case <-time.After(left):
		case <-ctx.Done():
			return
		}
	}
}
