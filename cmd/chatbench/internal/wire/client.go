// Package wire implements the chat's protocols for a load generator: it writes frames
// itself, and decodes only the beginning of a message's content. A generator that shares
// the machine with the server must need less CPU than the server.
package wire

import (
	"bufio"
	"io"
	"net"
	"time"
)

// Client speaks a protocol on connections that the caller opens.
type Client interface {
	// Subscribe opens a stream for each of subs on conn, and feeds them until
	// the connection ends. The error says why it ended.
	Subscribe(conn net.Conn, subs []Subscriber, how Reading) error
	// Sender prepares conn for sends, at most window of them in flight. Receive
	// calls done with a message's slot when the server has answered it: with nil
	// if it was stored.
	Sender(conn net.Conn, window int, done func(slot int, err error)) (Sender, error)
}

// Subscriber takes one stream. The reader of its connection is the only one to
// call it.
type Subscriber interface {
	// Feed takes the next piece of the stream's body, which it must not keep,
	// and hands it to the protocol's [Scanner]. After End it does nothing.
	Feed(piece []byte) error
	// End takes the end of the stream; err is nil if the server ended it in
	// order. It may be called more than once.
	End(err error)
}

// Reading is how the streams of a connection are read.
type Reading struct {
	Small  bool          // flow control grants the server no more than the protocol's default
	Toggle time.Duration // the time for which all windows are closed and then open, 0: they stay open
}

// Sender sends on one connection. One goroutine sends and flushes, another one
// receives.
type Sender interface {
	// Send writes a message to a buffer. It does not retain content. A slot has at most one
	// message in flight.
	Send(slot int, content []byte) error
	// Flush writes the buffer out.
	Flush() error
	// Receive reads answers until the connection ends.
	Receive() error
}

// Call says how to call a server.
type Call struct {
	Protocol, Transport string
	Addr                string // HOST:PORT
	User, Password      string
	History             string // where subscribers begin
	Offset              uint64 // Chat-Offset instead, unless it is 0
}

// readBuffer is the size of the buffer for reads, in bytes.
const readBuffer = 16 << 10

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, readBuffer) }

// New returns the client of a protocol.
func New(c Call) Client {
	d := dialects[c.Protocol]
	list, send := d.header(c, true), d.header(c, false)
	switch {
	case c.Protocol == NATS:
		return natsClient{user: c.User, password: c.Password}
	case c.Protocol == Floor:
		return floorClient{}
	case c.Transport == HTTP1:
		return h1Client{
			dialect: d,
			list:    requestHead(c.Addr, listPath, list),
			send:    requestHead(c.Addr, sendPath, send),
		}
	default:
		scheme := "http"
		if c.Transport == TLS {
			scheme = "https"
		}
		return h2Client{
			dialect: d,
			list:    pseudoFields(scheme, c.Addr, listPath, list),
			send:    pseudoFields(scheme, c.Addr, sendPath, send),
		}
	}
}
