package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// slot sends one message after the other: each one when the last one is answered. So the
// messages of a slot are in order, regardless of how the server orders those of different
// slots. The window of a connection is its number of slots.
type slot struct {
	index int // in all slots of the run
	place int // in those of its connection
	conn  *publisherConn

	next     uint64 // number of the next message
	inFlight bool   // the one before is not answered
	due      time.Duration
	refused  []uint64 // numbers of the messages that the server did not store
}

// publisherConn is a connection for sends.
type publisherConn struct {
	sender wire.Sender
	free   chan *slot // those with nothing in flight; one channel for all connections if there is a rate
}

// publishers send the messages of a run.
type publishers struct {
	run     *runState
	slots   []*slot
	conns   []*publisherConn
	content []byte
	sent    atomic.Int64 // handed to connections
	landed  atomic.Int64 // answered
	stored  atomic.Int64 // answered with success
	late    atomic.Int64 // sent later than due by more than LateBy

	mu      sync.Mutex              // guards all below
	latency *hdrhistogram.Histogram // ns from due to answer, of messages that were answered in the measured time
	failure error                   // the first refusal, or what broke a connection
}

// LateBy is the delay after which a send counts as late. Late sends mean that the offered
// rate was not kept.
const LateBy = 100 * time.Millisecond

// done takes the answer to a slot's message.
func (p *publishers) done(s *slot, err error) {
	now := p.run.now()
	s.inFlight = false
	if err != nil {
		s.refused = append(s.refused, s.next-1)
		p.fail(fmt.Errorf("a send was refused: %w", err))
	} else {
		p.stored.Add(1)
		if int64(now) >= p.run.measured.Load() {
			p.mu.Lock()
			record(p.latency, now-s.due)
			p.mu.Unlock()
		}
	}
	p.landed.Add(1)
	s.conn.free <- s
}

// fail keeps the first error.
func (p *publishers) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failure == nil && !p.run.closing.Load() {
		p.failure = err
	}
}

// receive reads the answers of a connection.
func (p *publishers) receive(c *publisherConn) {
	if err := c.sender.Receive(); err != nil {
		p.fail(fmt.Errorf("publisher: %w", err))
	}
}

// broken returns the first failure, or nil.
func (p *publishers) broken() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failure
}

// maxPause bounds a sleep, so that the end of the load is noticed.
const maxPause = 50 * time.Millisecond

// put hands the next message of a slot to its connection.
func (p *publishers) put(s *slot, content []byte, due time.Duration) error {
	s.due, s.inFlight = due, true
	stamp{run: p.run.id, slot: s.index, seq: s.next, due: due}.put(content)
	s.next++
	p.sent.Add(1)
	return s.conn.sender.Send(s.place, content)
}

// closedLoop sends as fast as the server answers, until ctx is done.
func (p *publishers) closedLoop(ctx context.Context) {
	var all sync.WaitGroup
	for _, c := range p.conns {
		all.Go(func() { p.fail(p.pump(ctx, c)) })
	}
	all.Wait()
}

// pump sends on one connection: all slots that are free go into one write.
func (p *publishers) pump(ctx context.Context, c *publisherConn) error {
	content := append([]byte(nil), p.content...)
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-c.free:
			if err := p.put(s, content, p.run.now()); err != nil {
				return err
			}
		}
		for more := true; more; {
			select {
			case s := <-c.free:
				if err := p.put(s, content, p.run.now()); err != nil {
					return err
				}
			default:
				more = false
			}
		}
		if err := c.sender.Flush(); err != nil {
			return err
		}
	}
}

// openLoop sends rate messages a second, until ctx is done or it has sent most.
// A message that has to wait for a free slot keeps the time when it was due.
func (p *publishers) openLoop(ctx context.Context, free <-chan *slot, rate float64, most int) error {
	defer pinPacer()()
	start := p.run.now()
	for i := range most {
		due := start + time.Duration(float64(i)/rate*float64(time.Second))
		wait := due - p.run.now()
		if -wait > LateBy {
			p.late.Add(1)
		}
		for ; wait > 0 && ctx.Err() == nil; wait = due - p.run.now() {
			pause(min(wait, maxPause))
		}
		select {
		case <-ctx.Done():
			return nil
		case s := <-free:
			if ctx.Err() != nil {
				return nil
			}
			if err := p.put(s, p.content, due); err != nil {
				return err
			}
			if err := s.conn.sender.Flush(); err != nil {
				return err
			}
		}
	}
	return nil
}
