package main

import (
	"bufio"
	"io"
	"net"
)

// wire speaks a protocol on connections.
type wire interface {
	// subscribe opens a stream for each of subs on conn, and feeds them with
	// what comes until the connection ends. The error says why; the subscribers
	// have it too.
	subscribe(conn net.Conn, subs []*subscriber) error
	// sender prepares conn for sends. It calls done from receive when the
	// server has answered the message of one of the slots: with nil if it was
	// stored.
	sender(conn net.Conn, slots []*slot, done func(*slot, error)) (sender, error)
}

// sender sends on one connection. One goroutine sends and flushes, another one
// receives.
type sender interface {
	// send writes a message to a buffer. It does not keep content. A slot has
	// at most one message in flight.
	send(s *slot, content []byte) error
	// flush writes the buffer out.
	flush() error
	// receive reads answers until the connection ends.
	receive() error
}

// readBuffer is what one read takes at most, in bytes.
const readBuffer = 16 << 10

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, readBuffer) }

// newWire returns the wire of a workload.
func newWire(w workload, addr, user, password string) wire {
	d := dialects[w.Protocol]
	switch {
	case w.Protocol == protocolNATS:
		return natsWire{user: user, password: password}
	case w.Protocol == protocolFloor:
		return floorWire{}
	case w.Transport == transportHTTP1:
		return h1Wire{
			dialect: d,
			list:    requestHead(addr, listPath, d.header(user, password, true, w.History)),
			send:    requestHead(addr, sendPath, d.header(user, password, false, w.History)),
		}
	default:
		scheme := "http"
		if w.Transport == transportTLS {
			scheme = "https"
		}
		return h2Wire{
			dialect:    d,
			list:       pseudoFields(scheme, addr, listPath, d.header(user, password, true, w.History)),
			send:       pseudoFields(scheme, addr, sendPath, d.header(user, password, false, w.History)),
			toggleTime: w.ToggleTime,
		}
	}
}
