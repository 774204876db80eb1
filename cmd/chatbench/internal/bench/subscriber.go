package bench

import (
	"errors"
	"sync/atomic"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// subscriber takes the body of one stream, and checks and counts the messages
// in it. Its connection's reader is the only one to call it.
type subscriber struct {
	kind    kind
	run     *runState
	tally   *tally
	checker checker
	scan    wire.Scanner

	now     time.Duration // of the bytes being scanned, since the run's base
	inBatch int           // messages of the batch being scanned
	ready   atomic.Bool   // its first batch has arrived
	ended   bool          // the stream is over
	reason  atomic.Pointer[error]
}

// runState is the state that all subscribers of a run share.
type runState struct {
	id       uint32
	base     time.Time     // times are durations since
	measured atomic.Int64  // arrivals and answers before this time belong to the warm-up
	ready    chan struct{} // gets a value from each subscriber, at its first batch or at its end without one
	closing  atomic.Bool   // the run is over: connections are closed
	done     chan struct{} // closed at the same time
}

// now is the time since the run's base.
func (r *runState) now() time.Duration { return time.Since(r.base) }

var (
	_ wire.Subscriber = (*subscriber)(nil)
	_ wire.Sink       = (*subscriber)(nil)
)

// Feed implements [wire.Subscriber].
func (s *subscriber) Feed(piece []byte) error {
	if s.ended {
		return nil
	}
	s.now = s.run.now()
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	return s.scan.Scan(s, piece)
}

// Message implements [wire.Sink].
func (s *subscriber) Message(content []byte) {
	s.inBatch++
	m, err := parseStamp(content)
	if err != nil || m.run != s.run.id || m.slot >= len(s.checker.next) {
		s.tally.counts.foreign++
		return
	}
	if !s.checker.see(m.slot, m.seq) {
		return
	}
	if s.kind != healthy {
		s.tally.counts.apart++
		return
	}
	s.tally.counts.deliveries++
	if int64(s.now) >= s.run.measured.Load() {
		record(s.tally.latency, s.now-m.due)
	}
}

// Batch implements [wire.Sink].
func (s *subscriber) Batch() {
	if s.inBatch == 0 {
		s.tally.counts.heartbeats++
	} else if s.kind == healthy {
		s.tally.counts.batches++
		s.tally.counts.carried += int64(s.inBatch)
	}
	s.inBatch = 0
	s.welcome()
}

// welcome counts the subscriber as subscribed.
func (s *subscriber) welcome() {
	if !s.ready.Load() {
		s.ready.Store(true)
		s.run.ready <- struct{}{}
	}
}

var errEnded = errors.New("the server ended the stream")

// End implements [wire.Subscriber] and [wire.Sink].
func (s *subscriber) End(err error) {
	if s.ended || s.run.closing.Load() {
		return
	}
	s.ended = true
	if err == nil {
		err = errEnded
	}
	s.reason.Store(&err)
	s.welcome()
}

// broken returns why the stream ended, nil if it did not.
func (s *subscriber) broken() error {
	if err := s.reason.Load(); err != nil {
		return *err
	}
	return nil
}

// lost returns how many of the messages in slots did not arrive. Messages that a slow or
// stuck subscriber has not read yet are not lost.
func (s *subscriber) lost(slots []*slot) int64 {
	var n int64
	for i, slot := range slots {
		n += s.checker.lost(i, slot.next, slot.refused, s.kind == healthy)
	}
	return n
}
