package main

import (
	"bufio"
	"encoding/binary"
	"net"
)

// The floor's protocol, see peerFloor: a connection says with its first byte
// what it is. A message is its length in four bytes, then its content. The
// server answers a subscriber's first byte and each of a publisher's messages
// with an empty message.
const (
	floorSubscriber = 'S'
	floorPublisher  = 'P'
	floorPrefix     = 4
)

type floorWire struct{}

// subscribe implements [wire].
func (floorWire) subscribe(conn net.Conn, subs []*subscriber) error {
	s := subs[0]
	if _, err := conn.Write([]byte{floorSubscriber}); err != nil {
		return err
	}
	r := newReader(conn)
	for {
		n, err := floorLength(r)
		if err != nil {
			return err
		}
		if n == 0 {
			s.feedNothing()
			continue
		}
		p, err := r.Peek(min(n, stampBytes))
		if err != nil {
			return err
		}
		s.whole(p)
		if _, err := r.Discard(n); err != nil {
			return err
		}
	}
}

func floorLength(r *bufio.Reader) (int, error) {
	p, err := r.Peek(floorPrefix)
	if err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(p)
	_, err = r.Discard(floorPrefix)
	return int(n), err
}

// floorSender sends with as many messages in flight as there are slots; they
// are answered in order.
type floorSender struct {
	out     *bufio.Writer
	in      *bufio.Reader
	done    func(*slot, error)
	flights chan *slot
}

// sender implements [wire].
func (floorWire) sender(conn net.Conn, slots []*slot, done func(*slot, error)) (sender, error) {
	_, err := conn.Write([]byte{floorPublisher})
	return &floorSender{bufio.NewWriter(conn), newReader(conn), done, make(chan *slot, len(slots))}, err
}

// send implements [sender].
func (s *floorSender) send(slot *slot, content []byte) error {
	s.flights <- slot
	var prefix [floorPrefix]byte
	binary.BigEndian.PutUint32(prefix[:], uint32(len(content)))
	_, _ = s.out.Write(prefix[:])
	_, err := s.out.Write(content)
	return err
}

// flush implements [sender].
func (s *floorSender) flush() error { return s.out.Flush() }

// receive implements [sender].
func (s *floorSender) receive() error {
	for {
		if _, err := floorLength(s.in); err != nil {
			return err
		}
		s.done(<-s.flights, nil)
	}
}
