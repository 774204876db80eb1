package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// shortestBackoff and longestBackoff bound the wait after the system could not accept
// another connection. Each wait is logged.
const shortestBackoff, longestBackoff = 50 * time.Millisecond, time.Second

// accept accepts connections from l until l is closed, and serves each as HTTP/2 or
// HTTP/1.1.
func (s *Server) accept(base context.Context, l *splitListener) {
	backoff := shortestBackoff
	for {
		nc, err := l.Listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			backoff = shortestBackoff
			go s.serveNew(base, nc, l)
		case errors.As(err, &temporary) && temporary.Temporary(): // such as too many open files
			s.logf("http2: accept: %v; trying again", err)
			select {
			case <-time.After(backoff):
				backoff = min(2*backoff, longestBackoff)
			case <-l.closed:
				return
			}
		default:
			l.close(err)
			return
		}
	}
}

// serveNew detects the protocol of nc and serves it. A panic before that ends only this
// connection.
func (s *Server) serveNew(base context.Context, nc net.Conn, l *splitListener) {
	defer func() {
		if value := recover(); value != nil {
			s.logf("http2: panic serving %s: %v\n%s", nc.RemoteAddr(), value, debug.Stack())
			s.track(nc, false)
			_ = nc.Close()
		}
	}()
	switch {
	case !s.track(nc, true):
		_ = nc.Close()
	case l.tls != nil:
		s.serveSecure(base, nc, l)
	default:
		s.serveEither(base, nc, l)
	}
}

// serveEither serves nc if it begins with HTTP/2's preface, and passes it on to
// l otherwise.
func (s *Server) serveEither(base context.Context, nc net.Conn, l *splitListener) {
	_ = nc.SetReadDeadline(time.Now().Add(s.beginTime))
	first, isHTTP2, err := readPreface(nc)
	if !s.track(nc, false) || err != nil {
		_ = nc.Close()
		return
	}
	_ = nc.SetReadDeadline(time.Time{})
	if !isHTTP2 {
		l.hand(&begunConn{Conn: nc, first: first, blank: maxBlank})
		return
	}
	s.serveConn(s.connContext(base, nc), nc, nil)
}

// readPreface reads bytes from nc as long as they match HTTP/2's connection preface
// (section 3.4), and no more. It returns the bytes, and whether the preface is
// complete; then first is nil.
func readPreface(nc net.Conn) (first []byte, complete bool, err error) {
	const preface = http2.ClientPreface
	first = make([]byte, 0, len(preface))
	for len(first) < len(preface) {
		n, err := nc.Read(first[len(first):cap(first)])
		first = first[:len(first)+n]
		switch {
		case !strings.HasPrefix(preface, string(first)):
			return first, false, nil
		case err != nil:
			return first, false, err
		}
	}
	return nil, true, nil
}

// begunConn is a connection whose first bytes were read already.
type begunConn struct {
	net.Conn

	first []byte
	blank int // bytes of empty lines that may still come before the first request
}

// Read implements [net.Conn].
func (c *begunConn) Read(p []byte) (int, error) {
	for {
		n, err := c.read(p)
		if n == 0 || c.blank == 0 {
			return n, err
		}
		var skip int
		skip, c.blank = trimBlank(p[:n], c.blank)
		if n = copy(p, p[skip:n]); n > 0 || err != nil {
			return n, err
		}
	}
}

// read is Read with the empty lines.
func (c *begunConn) read(p []byte) (int, error) {
	if len(c.first) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	if c.first = c.first[n:]; len(c.first) == 0 {
		c.first = nil
	}
	return n, nil
}

// CloseWrite lets net/http end a connection whose client still sends, so that
// the client gets the response.
func (c *begunConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// splitListener is the listener of the connections that do not speak HTTP/2.
type splitListener struct {
	net.Listener

	tls    *tls.Config // nil: plain text
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	err    error // set before closed is
}

func newSplitListener(l net.Listener, config *tls.Config) *splitListener {
	return &splitListener{Listener: l, tls: config, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// Accept implements [net.Listener].
func (l *splitListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, l.err
	}
}

// Close implements [net.Listener].
func (l *splitListener) Close() error {
	l.close(net.ErrClosed)
	return nil
}

// close makes Accept fail with err.
func (l *splitListener) close(err error) {
	l.once.Do(func() {
		l.err = err
		close(l.closed)
		_ = l.Listener.Close()
	})
}

// hand makes Accept return nc, or closes nc if the listener is closed.
func (l *splitListener) hand(nc net.Conn) {
	select {
	case l.conns <- nc:
	case <-l.closed:
		_ = nc.Close()
	}
}
