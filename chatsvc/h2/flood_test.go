package h2_test

import (
	"bytes"
	"net"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/h2"
)

// A client that sends frames that must be answered, and reads no answer, is cut off
// before the server holds much for it.
func TestFloodOfWhatIsAnswered(t *testing.T) {
	t.Parallel()
	const enough = 11_000 // frames
	for name, flood := range map[string]struct {
		begin func(p *peer)
		send  func(p *peer, i int) error
	}{
		"ping":     {nil, func(p *peer, _ int) error { return p.WritePing(false, [8]byte{}) }},
		"settings": {nil, func(p *peer, _ int) error { return p.WriteSettings() }},
		"data on closed streams": {func(p *peer) {
			for id := range uint32(100) {
				p.request(2*id+1, true, get)
				p.untilAnswered(2*id + 1)
			}
		}, func(p *peer, i int) error { return p.WriteData(uint32(2*(i%100)+1), false, nil) }},
		"window update by 0":      {func(p *peer) { p.request(1, true, get) }, func(p *peer, _ int) error { return p.WriteWindowUpdate(1, 0) }},
		"priority of itself":      {nil, func(p *peer, _ int) error { return p.WritePriority(1, http2.PriorityParam{StreamDep: 1}) }},
		"malformed header blocks": {nil, func(p *peer, i int) error { return p.block1(uint32(2*i+1), "A", "b") }},
		"calls that are malformed": {nil, func(p *peer, i int) error {
			return p.block1(uint32(2*i+1), ":method", "GET", ":path", "/", ":scheme", "x")
		}},
		"calls that are refused": {func(p *peer) {
			for i := range uint32(3) {
				p.request(2*i+1, false, post)
			}
		}, func(p *peer, i int) error { return p.block1(uint32(2*i+7), get...) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := &http.Server{
				Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodPost {
						<-r.Context().Done()
					}
				}),
				HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 3},
			}
			inBubble(t, srv, func(t *testing.T, b *bubble) {
				p := b.dial()
				if flood.begin != nil {
					flood.begin(p)
				}
				for i := 0; flood.send(p, i) == nil; i++ {
					if i > enough {
						t.Fatalf("%d frames are taken", i)
					}
				}
			})
		})
	}
}

// block1 sends a header block that ends its stream.
func (p *peer) block1(id uint32, fields ...string) error {
	return p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(fields...), EndStream: true, EndHeaders: true})
}

// Frames that need no answer cost nothing, and the connection continues.
func TestFloodOfWhatIsNotAnswered(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(p *peer) error{
		"empty data":    func(p *peer) error { return p.WriteData(1, false, nil) },
		"window update": func(p *peer) error { return p.WriteWindowUpdate(1, 1) },
		"priority":      func(p *peer) error { return p.WritePriority(99, http2.PriorityParam{}) },
		"unknown":       func(p *peer) error { return p.WriteRawFrame(0x99, 0, 1, []byte("x")) },
		"ping ack":      func(p *peer) error { return p.WritePing(true, [8]byte{}) },
		"padding":       func(p *peer) error { return p.WriteDataPadded(1, false, nil, make([]byte, 20)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{Handler: http.HandlerFunc(describe)}, func(t *testing.T, b *bubble) {
				p := b.dial()
				p.request(1, false, post)
				for range 20_000 {
					p.check(send(p))
				}
				p.check(p.WriteData(1, true, []byte("end")))
				if got := p.answer(1); got.status != "200" {
					t.Errorf("answer %q", got.text())
				}
			})
		})
	}
}

// Calls beyond the limit are refused, which a client may repeat, and do no harm
// to the others.
func TestMaxConcurrentStreams(t *testing.T) {
	t.Parallel()
	var release chan struct{}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }),
		HTTP2:   &http.HTTP2Config{MaxConcurrentStreams: 2},
	}
	inBubble(t, srv, func(t *testing.T, b *bubble) {
		release = make(chan struct{})
		p := b.connect()
		p.begin()
		settings := p.until(func(f http2.Frame) bool { _, ok := f.(*http2.SettingsFrame); return ok }).(*http2.SettingsFrame)
		if limit, _ := settings.Value(http2.SettingMaxConcurrentStreams); limit != 2 {
			t.Errorf("the settings say %d", limit)
		}
		for id := uint32(1); id <= 5; id += 2 {
			p.request(id, true, get)
		}
		if got := p.answer(5).text(); got != "REFUSED_STREAM" {
			t.Errorf("the third call: %q", got)
		}
		close(release)
		for range 2 {
			p.until(func(f http2.Frame) bool { h, ok := f.(*http2.MetaHeadersFrame); return ok && h.StreamEnded() })
		}
		p.request(7, true, get)
		if got := p.answer(7).text(); got != "200" {
			t.Errorf("a later call: %q", got)
		}
	})
}

// A client that resets calls as fast as it makes them has no more handlers than
// it may have calls, and is cut off (CVE-2023-44487).
func TestRapidReset(t *testing.T) {
	t.Parallel()
	const limit = 10
	var release chan struct{}
	var running, most atomic.Int32
	srv := &http.Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			n := running.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-release
			running.Add(-1)
		}),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limit},
	}
	inBubble(t, srv, func(t *testing.T, b *bubble) {
		release = make(chan struct{})
		p := b.dial()
		c := b.count(p)
		var err error
		for id := uint32(1); err == nil; id += 2 {
			if id > 1000 {
				t.Fatal("the connection stays open")
			}
			_ = p.block1(id, get...)
			err = p.WriteRSTStream(id, http2.ErrCodeCancel)
		}
		synctest.Wait()
		if n := most.Load(); n > limit {
			t.Errorf("%d handlers at once", n)
		}
		if c.away != int(http2.ErrCodeEnhanceYourCalm) {
			t.Errorf("GOAWAY %d", c.away)
		}
		close(release)
	})
}

// Resets are no offence where handlers end with their calls.
func TestManyResets(t *testing.T) {
	t.Parallel()
	inBubble(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-r.Context().Done()
		}
	})}, func(t *testing.T, b *bubble) {
		p := b.dial()
		id := uint32(1)
		for range 20_000 {
			p.request(id, false, post)
			p.check(p.WriteRSTStream(id, http2.ErrCodeCancel))
			synctest.Wait()
			id += 2
		}
		p.request(id, true, get)
		if got := p.answer(id).text(); got != "200" {
			t.Errorf("answer %q", got)
		}
	})
}

// countedConn notes how many goroutines there are whenever more is read.
type countedConn struct {
	net.Conn

	most *atomic.Int64
}

func (c countedConn) Read(p []byte) (int, error) {
	c.most.Store(max(c.most.Load(), int64(runtime.NumGoroutine())))
	return c.Conn.Read(p)
}

// countedListener makes every connection a countedConn.
type countedListener struct {
	net.Listener

	most *atomic.Int64
}

func (l countedListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return countedConn{nc, l.most}, err
}

// Many frames that come together and are to be answered start no goroutine each. It
// counts the goroutines of the process, and so runs alone.
func TestAnswersStartFewGoroutines(t *testing.T) {
	const pings = 5000
	var most atomic.Int64
	srv := &http.Server{Handler: http.HandlerFunc(describe)}
	s := &server{log: logTo(srv), h2: h2.New(srv)}
	l := listen(t)
	s.addr = l.Addr().String()
	run(t, s.h2.Close, func() error { return s.h2.Serve(countedListener{l, &most}) })
	p := s.dial(t)
	p.request(1, true, get)
	p.answer(1)
	before := most.Swap(0)
	var all bytes.Buffer
	out := http2.NewFramer(&all, nil)
	for range pings {
		p.check(out.WritePing(false, [8]byte{}))
	}
	go func() { _, _ = p.nc.Write(all.Bytes()) }()
	for range pings {
		p.until(func(f http2.Frame) bool { ping, ok := f.(*http2.PingFrame); return ok && ping.IsAck() })
	}
	if got := most.Load(); got > before+10 {
		t.Errorf("%d goroutines, %d before", got, before)
	}
}
