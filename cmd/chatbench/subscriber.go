package main

import (
	"errors"
	"sync/atomic"
	"time"
)

// subscriber takes the body of one stream, and checks and counts the messages
// in it. Its connection's reader is the only one to call it.
type subscriber struct {
	kind    kind
	run     *runState
	tally   *tally
	checker checker
	scan    scanner

	now     time.Duration // of the bytes being scanned, since the run's base
	inBatch int           // messages of the batch being scanned
	credit  int           // bytes of the stream since the flow-control window was topped up
	ready   atomic.Bool   // its first batch was there
	ended   bool          // the stream is over
	reason  atomic.Pointer[error]
}

// runState is what all subscribers of a run share.
type runState struct {
	id       uint32
	base     time.Time     // times are durations since
	measured atomic.Int64  // what arrives or is answered before belongs to the warm-up
	ready    chan struct{} // gets a value from each subscriber, at its first batch or at its end without one
	closing  atomic.Bool   // the run is over: connections are closed
	done     chan struct{} // closed with that
}

// now is the time since the run's base.
func (r *runState) now() time.Duration { return time.Since(r.base) }

// scanner finds messages in the body of a stream, however it is cut in pieces.
type scanner interface {
	// scan takes the next piece, which it does not keep. It calls the
	// subscriber's message and batch for what it finds.
	scan(s *subscriber, piece []byte) error
}

// feed takes the next piece of the stream's body.
func (s *subscriber) feed(piece []byte) error {
	s.now = s.run.now()
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	return s.scan.scan(s, piece)
}

// message takes the beginning of the content of a message.
func (s *subscriber) message(content []byte) {
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

// batch takes the end of a batch.
func (s *subscriber) batch() {
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

// end takes the end of the stream; err is nil if it was said to be in order.
func (s *subscriber) end(err error) {
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

// lost returns how many of the messages in slots did not arrive. What a slow
// or stuck one has not read yet is not lost.
func (s *subscriber) lost(slots []*slot) int64 {
	var n int64
	for i, slot := range slots {
		n += s.checker.lost(i, slot.next, slot.refused, s.kind == healthy)
	}
	return n
}

// whole takes a message that comes without a batch around it.
func (s *subscriber) whole(content []byte) {
	s.now = s.run.now()
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.message(content)
	s.batch()
}

// feedNothing takes a sign of life.
func (s *subscriber) feedNothing() {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.batch()
}
