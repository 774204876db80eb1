package h2_test

import (
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/h2"
)

// bubble is a server whose connections are pipes and whose clock is the test's.
// The test fails if a goroutine is left.
type bubble struct {
	tb   testing.TB
	h2   *h2.Server
	log  *chattest.Buffer
	pipe *pipeListener
	wg   sync.WaitGroup // counts the goroutines of the test
}

func inBubble(t *testing.T, srv *http.Server, test func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{tb: t, log: logTo(srv), h2: h2.New(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		b.wg.Go(func() { _ = b.h2.Serve(b.pipe) })
		defer b.wg.Wait()
		defer b.h2.Close()
		test(t, b)
	})
}

// connect opens a connection on which nothing is sent yet.
func (b *bubble) connect() *peer {
	b.tb.Helper()
	client, server := net.Pipe()
	b.pipe.conns <- server
	_ = client.SetReadDeadline(time.Now().Add(24 * time.Hour)) // the clock runs while all wait
	return newPeer(b.tb, client)
}

// dial opens an HTTP/2 connection, and takes the server's settings.
func (b *bubble) dial(settings ...http2.Setting) *peer {
	b.tb.Helper()
	p := b.connect()
	p.begin(settings...)
	p.until(func(f http2.Frame) bool { s, ok := f.(*http2.SettingsFrame); return ok && s.IsAck() })
	return p
}

// pipeListener accepts one end of a pipe.
type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (*pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
