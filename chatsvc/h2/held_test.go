package h2_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/h2"
)

// tcpConn is a pipe that looks like a TCP connection, to which several buffers
// are written in one system call.
type tcpConn struct{ net.Conn }

func (tcpConn) MultipathTCP() (bool, error) { return false, nil }

// tcpListener makes every connection a tcpConn.
type tcpListener struct{ net.Listener }

func (l tcpListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tcpConn{nc}, nil
}

// Handlers that write the same bytes to a client that reads none of them share
// them, over TLS as over TCP: what the server holds is far less than a copy for
// each.
func TestUnreadWritesShareBytes(t *testing.T) { //nolint:paralleltest // it looks at the heap
	const (
		conns, streams = 4, 200
		size           = 64 << 10
		most           = conns * streams * size / 4
	)
	serverTLS, clientTLS := tlsConfigs(t)
	batch := make([]byte, size)
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "tcp", true: "tls"}[secure], func(t *testing.T) { //nolint:paralleltest // as above
			var written atomic.Int64
			handler := func(w http.ResponseWriter, _ *http.Request) {
				if _, err := w.Write(batch); err == nil {
					written.Add(1)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				srv := &http.Server{Handler: http.HandlerFunc(handler), TLSConfig: serverTLS}
				b := &bubble{tb: t, log: logTo(srv), h2: h2.New(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
				if secure {
					b.wg.Go(func() { _ = b.h2.ServeTLS(b.pipe) })
				} else {
					b.wg.Go(func() { _ = b.h2.Serve(tcpListener{b.pipe}) })
				}
				defer b.wg.Wait()
				defer b.h2.Close()
				peers := make([]*peer, conns)
				for i := range peers {
					peers[i] = b.dialClosed(secure, clientTLS, streams)
				}
				synctest.Wait()
				before := heap()
				for _, p := range peers { // all may write now
					p.check(p.WriteWindowUpdate(0, streams*size))
					p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}))
				}
				synctest.Wait()
				if held := heap() - before; held > most {
					t.Errorf("%d handlers hold %d KiB", conns*streams, held>>10)
				}
				for _, p := range peers { // a client that reads after all gets everything
					b.count(p)
				}
				synctest.Wait()
				if n := written.Load(); n != conns*streams {
					t.Errorf("%d of %d handlers have written", n, conns*streams)
				}
			})
		})
	}
}

// dialClosed opens a connection with calls that have sent their header blocks
// and wait for the client's window.
func (b *bubble) dialClosed(secure bool, config *tls.Config, streams int) *peer {
	b.tb.Helper()
	client, server := net.Pipe()
	b.pipe.conns <- server
	if secure {
		client = tls.Client(client, clientConfig(config, "h2"))
	}
	_ = client.SetReadDeadline(time.Now().Add(24 * time.Hour))
	p := newPeer(b.tb, client)
	p.begin(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1 << 20})
	for i := range uint32(streams) {
		id := 2*i + 1
		p.request(id, true, get)
		p.until(func(f http2.Frame) bool { _, ok := f.(*http2.MetaHeadersFrame); return ok && f.Header().StreamID == id })
	}
	return p
}

// clientConfig returns config for a client in a bubble that speaks proto.
func clientConfig(config *tls.Config, proto string) *tls.Config {
	config = config.Clone()
	config.NextProtos = []string{proto}
	config.ServerName = "example.com"
	config.Time = func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }
	return config
}

// heap returns how many bytes are in use.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
