package wire

import (
	"fmt"
	"net"
	"sync"

	"golang.org/x/net/http2"
)

// h2Sender sends over one HTTP/2 connection, each message in a stream of its
// own.
type h2Sender struct {
	conn    *h2Conn
	dialect dialect
	done    func(int, error)
	body    []byte
	first   []byte // the header block of the first send: it fills the server's table
	others  []byte // that of all others: it refers to the table

	mu      sync.Mutex // guards all below
	opened  sync.Cond  // a window has grown, or the connection is over
	over    error
	next    uint32 // stream
	credit  int64  // bytes that may be sent on the connection
	flights map[uint32]*flight
}

// flight is a send in flight.
type flight struct {
	slot   int
	answer answer
	credit int64 // bytes that may be sent on its stream
}

// Sender implements [Client].
func (w h2Client) Sender(conn net.Conn, window int, done func(int, error)) (Sender, error) {
	c, err := newH2Conn(conn, false)
	if err != nil {
		return nil, err
	}
	if int(c.peer.streams) < window {
		return nil, fmt.Errorf("the server allows %d streams on a connection, --window is %d", c.peer.streams, window)
	}
	s := &h2Sender{
		conn: c, dialect: w.dialect, done: done,
		next: 1, credit: defaultWindow, flights: make(map[uint32]*flight),
	}
	s.opened.L = &s.mu
	s.first = c.headerBlock(w.send)
	s.others = c.headerBlock(w.send)
	return s, nil
}

// Send implements [Sender]. It waits where the server's windows are closed.
func (s *h2Sender) Send(slot int, content []byte) error {
	s.body = s.dialect.appendSend(s.body[:0], content)
	s.mu.Lock()
	stream := s.next
	s.next += 2
	f := &flight{slot: slot, credit: int64(s.conn.peer.window)}
	s.flights[stream] = f
	s.mu.Unlock()
	block := s.others
	if stream == 1 {
		block = s.first
	}
	s.conn.mu.Lock()
	_ = s.conn.writer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block, EndHeaders: true})
	s.conn.mu.Unlock()
	return s.write(stream, f, s.body)
}

// write writes the body of a request in one or more frames.
func (s *h2Sender) write(stream uint32, f *flight, body []byte) error {
	for {
		n, err := s.take(f, len(body))
		if err != nil {
			return err
		}
		s.conn.mu.Lock()
		err = s.conn.writer.WriteData(stream, n == len(body), body[:n])
		s.conn.mu.Unlock()
		if body = body[n:]; len(body) == 0 || err != nil {
			return err
		}
	}
}

// take waits until the windows allow at least one byte, and returns the number of bytes
// that may be sent, at most n.
func (s *h2Sender) take(f *flight, n int) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for flushed := false; ; {
		allowed := min(int64(n), s.credit, f.credit, int64(s.conn.peer.maxFrame))
		if allowed > 0 || s.over != nil {
			s.credit -= allowed
			f.credit -= allowed
			return int(allowed), s.over
		}
		if flushed {
			s.opened.Wait()
			continue
		}
		// The server returns no window for bytes that it has not received.
		s.mu.Unlock()
		err := s.Flush()
		s.mu.Lock()
		if err != nil {
			return 0, err
		}
		flushed = true
	}
}

// Flush implements [Sender].
func (s *h2Sender) Flush() error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.out.Flush()
}

// Receive implements [Sender].
func (s *h2Sender) Receive() error {
	err := s.conn.read(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = err
	s.opened.Broadcast()
	return err
}

var _ handler = (*h2Sender)(nil)

func (s *h2Sender) flight(stream uint32) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.flights[stream]
}

func (s *h2Sender) header(stream uint32, a answer, end bool) error {
	f := s.flight(stream)
	if f == nil {
		return nil // the server's answer was complete before
	}
	if a.status != "" {
		f.answer.status = a.status
	}
	if a.grpcStatus != "" {
		f.answer.grpcStatus, f.answer.grpcMessage = a.grpcStatus, a.grpcMessage
	}
	if end {
		s.land(stream, f, s.dialect.check(f.answer))
	}
	return nil
}

func (s *h2Sender) data(stream uint32, p []byte, _ int, end bool) error {
	f := s.flight(stream)
	if f == nil {
		return nil
	}
	if s.dialect.verdict == inBody {
		f.answer.body = append(f.answer.body, p...)
	}
	if end {
		s.land(stream, f, s.dialect.check(f.answer))
	}
	return nil
}

func (s *h2Sender) reset(stream uint32, code http2.ErrCode) error {
	// "No error" behind a complete answer means: do not send the rest.
	if f := s.flight(stream); f != nil {
		s.land(stream, f, fmt.Errorf("the server reset the stream: %v", code))
	}
	return nil
}

func (s *h2Sender) land(stream uint32, f *flight, err error) {
	s.mu.Lock()
	delete(s.flights, stream)
	f.credit = hugeWindow // a goroutine that still writes it need not wait
	s.opened.Broadcast()
	s.mu.Unlock()
	s.done(f.slot, err)
}

func (s *h2Sender) window(stream, increment uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream == 0 {
		s.credit += int64(increment)
	} else if f := s.flights[stream]; f != nil {
		f.credit += int64(increment)
	}
	s.opened.Broadcast()
}
