package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	defaultMaxStreams   = 250
	defaultWriteTimeout = 30 * time.Second
	defaultPingTimeout  = 15 * time.Second // net/http's
	defaultBeginTime    = 10 * time.Second
	// headerSlack is how much larger than MaxHeaderBytes a list of header fields may
	// be. MaxHeaderBytes counts HTTP/1.1's bytes; HTTP/2 adds 32 for each field
	// (section 6.5.2), and net/http allows for ten fields.
	headerSlack = 10 * 32
	// lingerTime is how long a connection that has ended stays open so that the
	// client can read the last bytes.
	lingerTime = time.Second
)

// Server serves HTTP/1.1 through an [http.Server], and HTTP/2 itself. It is safe
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
	beginTime    time.Duration // for the handshake, the preface, the first SETTINGS and each header block
	workers      workers

	mu     sync.Mutex // guards all below
	closed bool       // no new connections
	conns  map[*conn]struct{}
	fresh  map[net.Conn]struct{} // connections whose protocol is not known yet
	empty  chan struct{}         // closed when closed and conns is empty
}

// New returns a server with the current settings of srv: the package documentation lists
// the fields that it uses. It sets Handler and TLSNextProto of srv, which must not be
// used directly after that.
func New(srv *http.Server) *Server {
	s := &Server{
		http:         srv,
		handler:      srv.Handler,
		maxStreams:   defaultMaxStreams,
		maxHeader:    uint32(max(srv.MaxHeaderBytes, 0)),
		writeTimeout: defaultWriteTimeout,
		idleTimeout:  srv.IdleTimeout,
		beginTime:    srv.ReadHeaderTimeout,
		conns:        make(map[*conn]struct{}),
		fresh:        make(map[net.Conn]struct{}),
		empty:        make(chan struct{}),
	}
	s.workers.calls = make(chan *stream)
	if s.beginTime <= 0 {
		s.beginTime = defaultBeginTime
	}
	if s.handler == nil {
		s.handler = http.DefaultServeMux
	}
	if s.maxHeader == 0 {
		s.maxHeader = http.DefaultMaxHeaderBytes
	}
	s.maxHeader += headerSlack
	if set := srv.HTTP2; set != nil {
		if set.MaxConcurrentStreams > 0 {
			s.maxStreams = set.MaxConcurrentStreams
		}
		if set.WriteByteTimeout > 0 {
			s.writeTimeout = set.WriteByteTimeout
		}
		s.pingAfter, s.pingTimeout = set.SendPingTimeout, set.PingTimeout
		if s.pingTimeout <= 0 {
			s.pingTimeout = defaultPingTimeout
		}
	}
	srv.Handler = http1Handler{s.handler}
	// This also keeps net/http from serving HTTP/2.
	srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){"h2": s.serveTLSConn}
	return s
}

// serveTLSConn serves a connection that net/http has accepted and that has chosen
// HTTP/2 in its handshake. [net/http/httptest] accepts TLS connections itself.
func (s *Server) serveTLSConn(_ *http.Server, conn *tls.Conn, h http.Handler) {
	state := conn.ConnectionState()
	base := context.Background()
	// net/http's way to pass the connection's context on.
	if from, ok := h.(interface{ BaseContext() context.Context }); ok {
		base = from.BaseContext()
	}
	s.serveConn(base, conn, &state)
}

// Serve accepts connections on l until [Server.Shutdown] or [Server.Close] is
// called. It then returns [http.ErrServerClosed]. It closes l. The server's
// BaseContext is called once for each version of HTTP.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, nil) }

// ServeTLS is Serve for TLS, with the certificates of the server's TLSConfig,
// which must not be nil. A handshake may take ReadHeaderTimeout. It may choose each of
// TLSConfig's NextProtos; a connection with one that is not HTTP/2 gets HTTP/1.1.
func (s *Server) ServeTLS(l net.Listener) error {
	if s.http.TLSConfig == nil {
		_ = l.Close()
		return errors.New("serve TLS: the server has no TLSConfig: set it, with a certificate")
	}
	config := s.http.TLSConfig.Clone()
	config.NextProtos = nextProtos(config.NextProtos)
	return s.serve(l, config)
}

// nextProtos returns the protocols that a handshake may choose: HTTP's, and further ones
// that were given, such as the challenge of ACME (RFC 8737).
func nextProtos(given []string) []string {
	protos := []string{"h2", "http/1.1"}
	for _, p := range given {
		if !slices.Contains(protos, p) {
			protos = append(protos, p)
		}
	}
	return protos
}

// serve is Serve, over TLS if config is not nil.
func (s *Server) serve(l net.Listener, config *tls.Config) error {
	split := newSplitListener(l, config)
	go s.accept(s.baseContext(l), split)
	err := s.http.Serve(split)
	split.close(err)
	return err
}

// Shutdown stops accepting connections, tells clients that their connections will end
// (GOAWAY), and returns when all calls have ended. If ctx is done first, it returns
// ctx.Err(), and the caller should call [Server.Close].
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

// baseContext returns the context from which those of all calls on l derive.
func (s *Server) baseContext(l net.Listener) context.Context {
	ctx := context.Background()
	if s.http.BaseContext != nil {
		ctx = s.http.BaseContext(l)
	}
	return context.WithValue(ctx, http.ServerContextKey, s.http)
}

// connContext returns the context from which those of all calls on nc derive.
func (s *Server) connContext(base context.Context, nc net.Conn) context.Context {
	ctx := context.WithValue(base, http.LocalAddrContextKey, nc.LocalAddr())
	if s.http.ConnContext != nil {
		ctx = s.http.ConnContext(ctx, nc)
	}
	return ctx
}

// maxBlock is how many bytes a header block may take on the wire, including its
// frames. It leaves room so that a list that is somewhat too large still gets the status
// 431.
func (s *Server) maxBlock() int { return 2*int(min(s.maxHeader, 1<<29)) + 2*maxReadFrame }

func (s *Server) logf(format string, args ...any) {
	if s.http.ErrorLog != nil {
		s.http.ErrorLog.Printf(format, args...)
	} else {
		log.Printf(format, args...)
	}
}
