package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	defaultMaxStreams   = 250
	defaultWriteTimeout = 30 * time.Second
	// prefaceTime bounds the first bytes of a connection where the server has
	// no ReadHeaderTimeout.
	prefaceTime = 10 * time.Second
	// lingerTime is how long a connection that was ended stays open for the
	// client to read what was written last.
	lingerTime = time.Second
)

// Server serves HTTP/1.1 by an [http.Server] and HTTP/2 by itself. It is safe
// for concurrent use.
type Server struct {
	http *http.Server

	handler      http.Handler
	maxStreams   int
	maxHeader    uint32
	pingAfter    time.Duration // 0: never
	pingTimeout  time.Duration
	writeTimeout time.Duration
	idleTimeout  time.Duration // 0: none
	workers      workers

	mu     sync.Mutex // guards all below
	closed bool       // no new connections
	conns  map[*conn]struct{}
	fresh  map[net.Conn]struct{} // connections whose protocol is not known yet
	empty  chan struct{}         // closed when closed and conns is empty
}

// New returns a server that serves as srv is set up now: see the package
// documentation for what is heeded. It sets TLSNextProto of srv, which must not
// be used by itself after that.
func New(srv *http.Server) *Server {
	s := &Server{
		http:         srv,
		handler:      srv.Handler,
		maxStreams:   defaultMaxStreams,
		maxHeader:    uint32(max(srv.MaxHeaderBytes, 0)),
		writeTimeout: defaultWriteTimeout,
		idleTimeout:  srv.IdleTimeout,
		conns:        make(map[*conn]struct{}),
		fresh:        make(map[net.Conn]struct{}),
		empty:        make(chan struct{}),
	}
	s.workers.calls = make(chan *stream)
	if s.handler == nil {
		s.handler = http.DefaultServeMux
	}
	if s.maxHeader == 0 {
		s.maxHeader = http.DefaultMaxHeaderBytes
	}
	if set := srv.HTTP2; set != nil {
		if set.MaxConcurrentStreams > 0 {
			s.maxStreams = set.MaxConcurrentStreams
		}
		if set.WriteByteTimeout > 0 {
			s.writeTimeout = set.WriteByteTimeout
		}
		s.pingAfter, s.pingTimeout = set.SendPingTimeout, set.PingTimeout
		if s.pingTimeout <= 0 {
			s.pingTimeout = 15 * time.Second // net/http's default
		}
	}
	// A map that is not nil also keeps net/http from serving HTTP/2.
	srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
			state := conn.ConnectionState()
			s.serveConn(conn, &state)
		},
	}
	return s
}

// Serve accepts connections on l until [Server.Shutdown] or [Server.Close] is
// called, and returns [http.ErrServerClosed] then. It closes l.
func (s *Server) Serve(l net.Listener) error {
	split := newSplitListener(l)
	go s.accept(split)
	err := s.http.Serve(split)
	split.close(err)
	return err
}

// ServeTLS is Serve for TLS, with the certificates of the server's TLSConfig.
func (s *Server) ServeTLS(l net.Listener) error {
	config := s.http.TLSConfig.Clone()
	config.NextProtos = []string{"h2", "http/1.1"}
	return s.http.Serve(tls.NewListener(l, config))
}

// Shutdown stops accepting connections, tells clients that theirs will end
// (GOAWAY), and returns when all calls have ended or ctx is done; it returns
// ctx.Err() in that case. What is still open then is left to [Server.Close].
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.http.Shutdown(ctx) }()
	for _, c := range s.stop() {
		c.shutdown()
	}
	select {
	case <-s.empty:
		return <-done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends all connections at once.
func (s *Server) Close() error {
	conns := s.stop()
	err := s.http.Close()
	for _, c := range conns {
		c.close(net.ErrClosed)
	}
	return err
}

// stop refuses new connections, closes those whose protocol is not known, and
// returns the others.
func (s *Server) stop() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		s.emptyIfLast()
	}
	for nc := range s.fresh {
		_ = nc.Close()
	}
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}

// add reports whether c may be served.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.emptyIfLast()
}

// emptyIfLast notes that no connection is left after a stop. The caller holds
// mu.
func (s *Server) emptyIfLast() {
	if !s.closed || len(s.conns) > 0 {
		return
	}
	select {
	case <-s.empty:
	default:
		close(s.empty)
		s.workers.stop()
	}
}

// track notes a connection whose protocol is not known yet, or that it is now.
// It reports false after a stop.
func (s *Server) track(nc net.Conn, fresh bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !fresh {
		delete(s.fresh, nc)
	} else if !s.closed {
		s.fresh[nc] = struct{}{}
	}
	return !s.closed
}

// accept takes connections from l and tells HTTP/2 from HTTP/1.1 until l is
// closed.
func (s *Server) accept(l *splitListener) {
	for {
		nc, err := l.Listener.Accept()
		var temporary interface{ Temporary() bool }
		switch {
		case err == nil:
			go s.serveEither(nc, l)
		case errors.As(err, &temporary) && temporary.Temporary(): // such as too many open files
			s.logf("http2: accept: %v; trying again", err)
			select {
			case <-time.After(acceptBackoff):
			case <-l.closed:
				return
			}
		default:
			l.close(err)
			return
		}
	}
}

// serveEither serves nc if it begins with HTTP/2's preface, and hands it on to
// l if not.
func (s *Server) serveEither(nc net.Conn, l *splitListener) {
	if !s.track(nc, true) {
		_ = nc.Close()
		return
	}
	limit := s.http.ReadHeaderTimeout
	if limit <= 0 {
		limit = prefaceTime
	}
	_ = nc.SetReadDeadline(time.Now().Add(limit))
	first, isHTTP2, err := readPreface(nc)
	if !s.track(nc, false) || err != nil {
		_ = nc.Close()
		return
	}
	_ = nc.SetReadDeadline(time.Time{})
	if !isHTTP2 {
		l.hand(&begunConn{Conn: nc, first: first})
		return
	}
	s.serveConn(nc, nil)
}

func (s *Server) logf(format string, args ...any) {
	if s.http.ErrorLog != nil {
		s.http.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
