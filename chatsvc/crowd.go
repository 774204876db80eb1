package chatsvc

import (
	"context"
	"runtime"
	"time"
)

const (
	// crowdShare is the part of the crowd, in per cent, that must be parked
	// before records are released to it.
	crowdShare = 90
	// smallCrowd is the size below which a crowd waits for nobody: it would gain
	// nothing from larger batches.
	smallCrowd = 64
	// A record waits for the crowd for at most holdEach for each subscriber up to
	// plateauHold, then for writeEach, about what a write takes, up to longestHold.
	holdEach    = 100 * time.Microsecond
	plateauHold = 100 * time.Millisecond
	writeEach   = 20 * time.Microsecond
	longestHold = 250 * time.Millisecond
	// largeRelease is the number of records from which a release is large.
	largeRelease = 64
	// fewLate is the part of the crowd, in per cent, up to which those that were late
	// are to blame, and not the machine.
	fewLate = 25
	// A subscriber that was late stays out of the crowd for shortestAbsence, and twice
	// as long each time it is late again, up to longestAbsence. That is forgotten when
	// it has kept up for lateMemory.
	shortestAbsence = time.Second
	longestAbsence  = time.Minute
	lateMemory      = 2 * time.Minute
	// coldPause bounds how long after a release cold reads wait for the crowd.
	coldPause = 50 * time.Millisecond
)

// crowdState says when parked subscribers are woken. It is guarded by the broker's mu.
type crowdState struct {
	visible uint64      // records below this offset are released
	round   *round      // what parked subscribers wait for
	waiting int         // subscribers that wait for round
	parked  int         // those of them that are in the crowd
	crowd   int         // subscribers that keep up, parked or not
	census  uint64      // names the crowd; grows when late ones are dropped
	excused uint64      // those that were dropped from this census or an older one are not to blame
	hold    *time.Timer // ends the wait for the crowd
	held    time.Time   // when the oldest of the records that are held was published

	releasedAt time.Time     // when the crowd was woken last; zero when it has parked since
	large      bool          // the last release was
	restsUntil time.Time     // when it may be woken again
	settled    chan struct{} // closed when the crowd has parked after a release; nil while nobody waits for that

	releases, wakeups uint64 // how often records were released, and to how many that waited
}

// round is one wait of parked subscribers.
type round struct {
	released chan struct{} // closed when there is more to read
	census   uint64        // of the crowd that waited; set by the release
}

// releaseIfDue releases what is held if most of the crowd is parked and has had
// its rest. The caller holds mu.
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
	each := func(d time.Duration) time.Duration { return d * time.Duration(b.crowd) }
	return min(max(min(each(holdEach), plateauHold), each(writeEach)), longestHold)
}

// release makes all records visible and wakes who is parked. The caller holds
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

// endHold releases what was held for long enough, and drops those from the crowd that
// are not parked by then.
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

// park counts s as waiting, which may release what is held. The caller holds mu.
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

// join takes s into the crowd, unless it was late not long ago. The caller holds mu.
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

// late keeps s out of the crowd for a while.
func (s *subscriber) late() {
	now := time.Now()
	if now.Sub(s.absentUntil) > lateMemory {
		s.absences = 0
	}
	s.absentUntil = now.Add(min(shortestAbsence<<s.absences, longestAbsence))
	s.absences = min(s.absences+1, 10)
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

// unpark ends the wait of s, if it does. The caller holds mu.
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

// quit takes s out of the crowd until it parks again. The caller holds mu.
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

// giveWay returns when a cold read may begin: not while a release goes to the crowd,
// as every read then takes the processor from all that wait for their batch. It waits
// until coldPause after the release at the longest. In any case all goroutines that
// can run do so first: a cold reader and its reads wake each other, and the
// scheduler prefers those that were just woken to those that have waited.
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
