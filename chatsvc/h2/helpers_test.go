package h2_test

import (
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/h2"
)

// patience is how long a test waits for what must happen. Nothing asserts that
// it happens faster.
const patience = 120 * time.Second

// server is a server on loopback: this package's, or net/http's to compare it
// with.
type server struct {
	addr string
	url  string
	tls  *tls.Config // a client's; nil without TLS
	h2   *h2.Server  // nil if it is net/http's
	log  *chattest.Buffer
}

// serve serves what srv says over h2c and HTTP/1.1 until the test ends.
func serve(tb testing.TB, srv *http.Server) *server {
	tb.Helper()
	s := &server{log: logTo(srv)}
	s.h2 = h2.New(srv)
	l := listen(tb)
	s.addr, s.url = l.Addr().String(), "http://"+l.Addr().String()
	run(tb, s.h2.Close, func() error { return s.h2.Serve(l) })
	return s
}

// serveTLS is serve over TLS.
func serveTLS(tb testing.TB, srv *http.Server) *server {
	tb.Helper()
	s := &server{log: logTo(srv)}
	srv.TLSConfig, s.tls = tlsConfigs(tb)
	s.h2 = h2.New(srv)
	l := listen(tb)
	s.addr, s.url = l.Addr().String(), "https://"+l.Addr().String()
	run(tb, s.h2.Close, func() error { return s.h2.ServeTLS(l) })
	return s
}

// serveStandard is serve by net/http.
func serveStandard(tb testing.TB, srv *http.Server) *server {
	tb.Helper()
	s := &server{log: logTo(srv)}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(true)
	l := listen(tb)
	s.addr, s.url = l.Addr().String(), "http://"+l.Addr().String()
	run(tb, srv.Close, func() error { return srv.Serve(l) })
	return s
}

// run runs serve until the test ends, and checks that it says why it ended.
func run(tb testing.TB, stop, serve func() error) {
	tb.Helper()
	done := make(chan error, 1)
	go func() { done <- serve() }()
	tb.Cleanup(func() {
		_ = stop()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			tb.Errorf("serve: %v", err)
		}
	})
}

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

// tlsConfigs returns the configurations of a server and of its clients.
func tlsConfigs(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return &tls.Config{Certificates: ts.TLS.Certificates, MinVersion: tls.VersionTLS12},
		ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

func logTo(srv *http.Server) *chattest.Buffer {
	b := new(chattest.Buffer)
	srv.ErrorLog = log.New(b, "", 0)
	return b
}

// client returns a client of its own for one version of HTTP.
func (s *server) client(tb testing.TB, http2 bool) *http.Client {
	tb.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2 && s.tls != nil)
	protocols.SetUnencryptedHTTP2(http2 && s.tls == nil)
	rt := &http.Transport{Protocols: protocols, TLSClientConfig: s.tls.Clone(), ExpectContinueTimeout: patience}
	tb.Cleanup(rt.CloseIdleConnections)
	return &http.Client{Transport: rt, Timeout: patience}
}

// open opens a connection on which nothing is sent yet.
func (s *server) open() (net.Conn, error) {
	var nc net.Conn
	var err error
	if s.tls != nil {
		config := s.tls.Clone()
		config.NextProtos = []string{"h2"}
		nc, err = tls.Dial("tcp", s.addr, config)
	} else {
		nc, err = net.Dial("tcp", s.addr)
	}
	if err != nil {
		return nil, err
	}
	return nc, nc.SetDeadline(time.Now().Add(patience))
}

// dialRaw is open for a test that needs the connection.
func (s *server) dialRaw(tb testing.TB) net.Conn {
	tb.Helper()
	nc, err := s.open()
	if err != nil {
		tb.Fatal(err)
	}
	return nc
}

// dial opens an HTTP/2 connection, which is closed with the test.
func (s *server) dial(tb testing.TB, settings ...http2.Setting) *peer {
	tb.Helper()
	p := newPeer(tb, s.dialRaw(tb))
	p.begin(settings...)
	return p
}
