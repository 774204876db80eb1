package wire

import (
	"bufio"
	"encoding/binary"
	"net"
)

// The protocol of the peer "floor": the first byte of a connection is its kind. A message
// is its length in four bytes, then its content. The server answers a subscriber's first
// byte and each of a publisher's messages with an empty message.
const (
	FloorSubscriber = 'S'
	FloorPublisher  = 'P'
	FloorPrefix     = 4
)

type floorClient struct{}

// Subscribe implements [Client].
func (floorClient) Subscribe(conn net.Conn, subs []Subscriber, _ Reading) error {
	s := subs[0]
	if _, err := conn.Write([]byte{FloorSubscriber}); err != nil {
		return err
	}
	r := newReader(conn)
	for {
		n, err := FloorLength(r)
		if err != nil {
			return err
		}
		if n == 0 {
			if err := s.Feed(nil); err != nil {
				return err
			}
			continue
		}
		p, err := r.Peek(min(n, HeadBytes))
		if err != nil {
			return err
		}
		if err := s.Feed(p); err != nil {
			return err
		}
		if _, err := r.Discard(n); err != nil {
			return err
		}
	}
}

// FloorLength reads a message's length.
func FloorLength(r *bufio.Reader) (int, error) {
	p, err := r.Peek(FloorPrefix)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(p)
	_, err = r.Discard(FloorPrefix)
	return int(n), err
}

// floorSender sends with one message in flight for each slot. They are answered in order.
type floorSender struct {
	out     *bufio.Writer
	in      *bufio.Reader
	done    func(int, error)
	flights chan int
}

// Sender implements [Client].
func (floorClient) Sender(conn net.Conn, window int, done func(int, error)) (Sender, error) {
	_, err := conn.Write([]byte{FloorPublisher})
	return &floorSender{bufio.NewWriter(conn), newReader(conn), done, make(chan int, window)}, err
}

// Send implements [Sender].
func (s *floorSender) Send(slot int, content []byte) error {
	s.flights <- slot
	var prefix [FloorPrefix]byte
	binary.BigEndian.PutUint32(prefix[:], uint32(len(content)))
	_, _ = s.out.Write(prefix[:])
	_, err := s.out.Write(content)
	return err
}

// Flush implements [Sender].
func (s *floorSender) Flush() error { return s.out.Flush() }

// Receive implements [Sender].
func (s *floorSender) Receive() error {
	for {
		if _, err := FloorLength(s.in); err != nil {
			return err
		}
		s.done(<-s.flights, nil)
	}
}
