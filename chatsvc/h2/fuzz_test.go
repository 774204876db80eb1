package h2_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// For all input of a client, the server does not panic, the connection ends, and no
// goroutine is left.
func FuzzConn(f *testing.F) {
	for _, s := range [][]script{requestScripts, streamScripts, frameScripts} {
		for _, s := range s {
			if s.name != "expect" && s.name != "data after the end" && s.name != "lower stream" && s.name != "priority of itself, then a call on it" { // they wait for the server
				f.Add(recorded(f, s))
			}
		}
	}
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example\r\n\r\n"))
	f.Add([]byte(http2.ClientPreface))
	f.Fuzz(func(t *testing.T, sent []byte) {
		srv := &http.Server{
			Handler:           http.HandlerFunc(describe),
			ReadHeaderTimeout: time.Second,
			IdleTimeout:       time.Minute,
			MaxHeaderBytes:    1 << 10,
			HTTP2:             &http.HTTP2Config{SendPingTimeout: 2 * time.Minute, PingTimeout: time.Minute, MaxConcurrentStreams: 3},
		}
		inBubble(t, srv, func(t *testing.T, b *bubble) {
			p := b.connect()
			b.wg.Go(func() { _, _ = p.nc.Write(sent) })
			start := time.Now()
			_, _ = io.Copy(io.Discard, p.nc)
			between(t, start, 0, 10*time.Minute)
			if strings.Contains(b.log.String(), "panic") {
				t.Error(b.log.String())
			}
		})
	})
}

// recorded returns the bytes that a script sends.
func recorded(tb testing.TB, s script) []byte {
	tb.Helper()
	var sent bytes.Buffer
	sent.WriteString(http2.ClientPreface)
	p := newPeer(tb, nil)
	p.Framer = http2.NewFramer(&sent, nil)
	p.AllowIllegalWrites = true
	p.check(p.WriteSettings())
	s.send(p)
	return sent.Bytes()
}
