package h2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"example.com/simplechat/chatsvc/h2"
)

// patience is how long a test waits for what must happen. Nothing asserts that
// it happens faster.
const patience = 30 * time.Second

// server is a server on loopback: this package's, or net/http's to compare it
// with.
type server struct {
	addr string
	url  string
	tls  *tls.Config // a client's; nil without TLS
	h2   *h2.Server  // nil if it is net/http's
	log  *syncBuffer
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
	srv.TLSConfig, s.tls = certificate(tb)
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

// certificate returns the configurations of a server and of its clients.
func certificate(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return &tls.Config{Certificates: ts.TLS.Certificates, MinVersion: tls.VersionTLS12},
		ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// syncBuffer is a buffer for several goroutines.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func logTo(srv *http.Server) *syncBuffer {
	b := new(syncBuffer)
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

// peer is a client's end of an HTTP/2 connection, frame by frame.
type peer struct {
	*http2.Framer

	tb    testing.TB
	nc    net.Conn
	block bytes.Buffer
	hpack *hpack.Encoder // writes to block
}

func newPeer(tb testing.TB, nc net.Conn) *peer {
	tb.Helper()
	tb.Cleanup(func() {
		if nc != nil {
			_ = nc.Close()
		}
	})
	p := &peer{tb: tb, nc: nc, Framer: http2.NewFramer(nc, nc)}
	p.AllowIllegalWrites = true
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	p.hpack = hpack.NewEncoder(&p.block)
	return p
}

// begin sends the preface and the settings.
func (p *peer) begin(settings ...http2.Setting) {
	p.tb.Helper()
	if _, err := io.WriteString(p.nc, http2.ClientPreface); err != nil {
		p.tb.Fatal(err)
	}
	p.check(p.WriteSettings(settings...))
}

func (p *peer) check(err error) {
	p.tb.Helper()
	if err != nil {
		p.tb.Fatal(err)
	}
}

// encode returns a header block of fields, each a name and a value.
func (p *peer) encode(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		_ = p.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return p.block.Bytes()
}

// headers sends a header block as it is.
func (p *peer) headers(id uint32, end bool, fields ...string) {
	p.tb.Helper()
	p.check(p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: p.encode(fields...), EndStream: end, EndHeaders: true,
	}))
}

// get is what a GET's header block begins with.
var get = []string{":method", "GET", ":scheme", "http", ":authority", "example", ":path", "/"}

// post is the same for POST.
var post = []string{":method", "POST", ":scheme", "http", ":authority", "example", ":path", "/"}

// request sends a header block that begins with head.
func (p *peer) request(id uint32, end bool, head []string, more ...string) {
	p.tb.Helper()
	p.headers(id, end, append(append([]string(nil), head...), more...)...)
}

// until reads frames until is reports true, and returns that one. It answers
// nothing.
func (p *peer) until(is func(f http2.Frame) bool) http2.Frame {
	p.tb.Helper()
	for {
		f, err := p.ReadFrame()
		if err != nil {
			p.tb.Fatalf("waiting for a frame: %v", err)
		}
		if is(f) {
			return f
		}
	}
}

// untilEnd reads frames until the server closes the connection, and returns the
// code of the last GOAWAY, or -1.
func (p *peer) untilEnd() int {
	p.tb.Helper()
	code := -1
	for {
		f, err := p.ReadFrame()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			p.tb.Fatal("the connection stays open")
		case err != nil:
			return code
		}
		if f, ok := f.(*http2.GoAwayFrame); ok {
			code = int(f.ErrCode)
		}
	}
}

// answer reads frames until the response on a stream has ended, and returns it.
func (p *peer) answer(id uint32) *answer {
	p.tb.Helper()
	a := new(answer)
	p.until(func(f http2.Frame) bool { return f.Header().StreamID == id && a.take(f) })
	return a
}

// answer is what a server says on one stream.
type answer struct {
	interim []string // status codes before the last one
	status  string
	header  http.Header
	body    []byte
	trailer http.Header
	reset   *http2.ErrCode
}

// take takes one frame of the stream, and reports whether it is the last.
func (a *answer) take(f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		fields := make(http.Header)
		for _, field := range f.RegularFields() {
			fields.Add(field.Name, field.Value)
		}
		switch status := f.PseudoValue("status"); {
		case a.status != "":
			a.trailer = fields
		case strings.HasPrefix(status, "1"):
			a.interim = append(a.interim, status)
		default:
			a.status, a.header = status, fields
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		a.body = append(a.body, f.Data()...)
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		a.reset = &f.ErrCode
		return true
	}
	return false
}

// text is the answer's status and body, or how it was reset.
func (a *answer) text() string {
	text := strings.Join(append(a.interim, a.status), " ")
	if len(a.body) > 0 {
		text += " " + string(a.body)
	}
	if a.reset != nil {
		text += " " + a.reset.String()
	}
	return strings.TrimSpace(text)
}

// testContext returns a context that ends with the test, or when patience does.
func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	tb.Cleanup(cancel)
	return ctx
}
