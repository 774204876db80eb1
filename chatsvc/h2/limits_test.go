package h2_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/h2"
)

// A client that keeps to the limit is never refused, also while handlers of
// calls that have ended for it have not returned yet.
func TestCompliantClientIsNotRefused(t *testing.T) {
	t.Parallel()
	const limit, calls = 10, 100
	var release chan struct{}
	handler := func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush() // which ends the answer to HEAD
		<-release
	}
	srv := &http.Server{Handler: http.HandlerFunc(handler), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limit}}
	inBubble(t, srv, func(t *testing.T, b *bubble) {
		release = make(chan struct{})
		p := b.dial()
		c := b.count(p)
		for sent := 0; sent < calls; {
			synctest.Wait()
			c.mu.Lock()
			open := sent - c.ended - len(c.resets)
			c.mu.Unlock()
			if open == limit { // all wait: let one handler return
				release <- struct{}{}
				continue
			}
			p.request(uint32(2*sent+1), true, []string{":method", http.MethodHead, ":scheme", "http", ":path", "/"})
			sent++
		}
		close(release)
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.ended != calls || len(c.resets) > 0 || c.away >= 0 {
			t.Errorf("%d of %d calls answered, resets %v, GOAWAY %d", c.ended, calls, c.resets, c.away)
		}
	})
}

// Calls that wait for a handler are dropped when the client resets them, with
// their bodies, and served when a handler has returned, also during a shutdown.
func TestPendingCalls(t *testing.T) {
	t.Parallel()
	const limit = 10
	var release chan struct{}
	var posts atomic.Int32
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodHead:
			_ = http.NewResponseController(w).Flush()
			<-release
		case http.MethodPost:
			posts.Add(1)
		}
	}
	srv := &http.Server{Handler: http.HandlerFunc(handler), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limit}}
	inBubble(t, srv, func(t *testing.T, b *bubble) {
		release = make(chan struct{})
		p := b.dial()
		c := b.count(p)
		id := uint32(1)
		for range limit { // answered, but their handlers have not returned
			p.request(id, true, []string{":method", http.MethodHead, ":scheme", "http", ":path", "/"})
			id += 2
		}
		synctest.Wait()
		for range 3 * limit { // several times the connection's window
			p.request(id, false, post)
			for range 16 {
				p.check(p.WriteData(id, false, make([]byte, 16<<10)))
			}
			p.check(p.WriteRSTStream(id, http2.ErrCodeCancel))
			synctest.Wait()
			id += 2
		}
		p.request(id, true, get)
		synctest.Wait()
		if c.ended != limit || c.away >= 0 {
			t.Errorf("%d calls ended, GOAWAY %d", c.ended, c.away)
		}
		stopped := make(chan error, 1)
		b.wg.Go(func() { stopped <- b.h2.Shutdown(context.Background()) })
		synctest.Wait()
		close(release)
		err := <-stopped
		if synctest.Wait(); err != nil || c.ended != limit+1 || posts.Load() > 0 {
			t.Errorf("%d calls ended, %d of those that were reset were served, %v", c.ended, posts.Load(), err)
		}
	})
}

// As many calls at once as the settings allow, on several connections, are all
// answered.
func TestManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	const conns, limit, calls = 4, 250, 2000
	for _, face := range faces {
		if !face.http2 {
			continue
		}
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			s := face.start(t, &http.Server{Handler: http.HandlerFunc(describe)})
			var wg sync.WaitGroup
			for range conns {
				p := s.dial(t)
				wg.Go(func() { callMany(t, p, limit, calls) })
			}
			wg.Wait()
		})
	}
}

// callMany makes calls, at most limit at a time.
func callMany(t *testing.T, p *peer, limit, calls int) {
	t.Helper()
	sent, open, bytes := 0, 0, 0
	for ended := 0; ended < calls; {
		for ; open < limit && sent < calls; sent, open = sent+1, open+1 {
			if err := p.block1(uint32(2*sent+1), get...); err != nil {
				t.Error(err)
				return
			}
		}
		f, err := p.ReadFrame()
		if err != nil {
			t.Error(err)
			return
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			t.Errorf("stream %d is reset: %v", f.StreamID, f.ErrCode)
			return
		case *http2.DataFrame:
			if bytes += int(f.Length); bytes > 1<<14 {
				_ = p.WriteWindowUpdate(0, uint32(bytes))
				bytes = 0
			}
			if f.StreamEnded() {
				ended, open = ended+1, open-1
			}
		}
	}
}

// A call that was answered before its end counts until one side has ended it.
func TestCallAnsweredEarlyCounts(t *testing.T) {
	t.Parallel()
	const limit = 2
	handler := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	srv := &http.Server{Handler: http.HandlerFunc(handler), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limit}}
	for name, end := range map[string]func(p *peer){
		"client ends":   func(p *peer) { p.check(p.WriteData(1, true, nil)) },
		"client resets": func(p *peer) { p.check(p.WriteRSTStream(1, http2.ErrCodeCancel)) },
		"server resets": func(p *peer) {
			p.until(func(f http2.Frame) bool { _, ok := f.(*http2.RSTStreamFrame); return ok })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{Handler: srv.Handler, HTTP2: srv.HTTP2}, func(t *testing.T, b *bubble) {
				p := b.dial()
				for id := uint32(1); id < 2*limit; id += 2 {
					p.request(id, false, post)
					p.untilAnswered(id)
				}
				p.request(101, true, get)
				if got := p.answer(101).text(); got != "REFUSED_STREAM" {
					t.Errorf("a call beyond the limit: %q", got)
				}
				end(p)
				p.request(103, true, get)
				if got := p.answer(103).text(); got != "204" {
					t.Errorf("a later call: %q", got)
				}
			})
		})
	}
}

// continuations are header blocks that need not end, each with a frame that the
// client repeats.
var continuations = map[string][]byte{
	"empty":        nil,
	"table update": {0x20},
	"many updates": []byte(strings.Repeat("\x20", 16<<10)),
	"one field":    {0x82}, // :method GET, again and again
}

// A header block without an end is cut before it has a few times the size limit of a
// header list, for all contents of its frames (CVE-2023-45288).
func TestHeaderBlockWithoutEnd(t *testing.T) {
	t.Parallel()
	const maxHeader = 16 << 10
	for name, payload := range continuations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{MaxHeaderBytes: maxHeader}, func(t *testing.T, b *bubble) {
				p := b.dial()
				c := b.count(p)
				err := p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x20}})
				frames := 0
				for ; err == nil; err = p.WriteContinuation(1, false, payload) {
					frames++
				}
				if sent := frames * (9 + len(payload)); sent > 6*maxHeader || frames > 2000 {
					t.Errorf("%d frames, %d bytes", frames, sent)
				}
				synctest.Wait()
				if c.away != int(http2.ErrCodeEnhanceYourCalm) && c.away != int(http2.ErrCodeProtocol) {
					t.Errorf("GOAWAY %d", c.away)
				}
			})
		})
	}
}

// The same over sockets, while another client is served.
func TestHeaderBlockWithoutEndOverSockets(t *testing.T) {
	t.Parallel()
	for _, face := range faces {
		if !face.http2 {
			continue
		}
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			s := face.start(t, &http.Server{Handler: http.HandlerFunc(describe), MaxHeaderBytes: 16 << 10})
			honest, hostile := s.dial(t), s.dial(t)
			hostile.check(hostile.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0x20}}))
			go func() {
				for hostile.WriteContinuation(1, false, nil) == nil {
				}
			}()
			for id := uint32(1); id < 100; id += 2 {
				honest.request(id, true, get)
				if got := honest.answer(id); got.status != "200" {
					t.Errorf("answer %q", got.text())
				}
			}
			hostile.untilEnd()
		})
	}
}

// A large header block in many frames is no offence.
func TestLargeHeaderBlock(t *testing.T) {
	t.Parallel()
	inBubble(t, &http.Server{Handler: http.HandlerFunc(describe), MaxHeaderBytes: 16 << 10}, func(t *testing.T, b *bubble) {
		p := b.dial()
		block := append([]byte(nil), p.encode(append(append([]string(nil), get...), "a", strings.Repeat("b", 15<<10))...)...)
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true}))
		for len(block) > 0 {
			n := min(100, len(block))
			p.check(p.WriteContinuation(1, n == len(block), block[:n]))
			block = block[n:]
		}
		if got := p.answer(1); got.status != "200" {
			t.Errorf("answer %q", got.text())
		}
	})
}

// panicConn panics when its client has sent a marker.
type panicConn struct{ net.Conn }

func (c panicConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if strings.Contains(string(p[:n]), "PANIC") {
		panic("oops")
	}
	return n, err
}

// panicListener makes every connection a panicConn.
type panicListener struct{ net.Listener }

func (l panicListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	return panicConn{nc}, err
}

// A panic of the goroutine that reads ends that connection and its calls, and
// nothing else.
func TestPanicInReader(t *testing.T) {
	t.Parallel()
	var ended chan struct{}
	handler := func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-r.Context().Done()
			close(ended)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		ended = make(chan struct{})
		srv := &http.Server{Handler: http.HandlerFunc(handler)}
		b := &bubble{tb: t, log: logTo(srv), h2: h2.New(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		b.wg.Go(func() { _ = b.h2.Serve(panicListener{b.pipe}) })
		defer b.wg.Wait()
		defer b.h2.Close()
		bad, good := b.dial(), b.dial()
		bad.request(1, false, post)
		synctest.Wait()
		b.wg.Go(func() { _, _ = io.WriteString(bad.nc, "PANIC") })
		if code := bad.untilEnd(); code != int(http2.ErrCodeInternal) {
			t.Errorf("ended with the code %d", code)
		}
		<-ended
		good.request(1, true, get)
		if got := good.answer(1).text(); got != "200" {
			t.Errorf("another connection: %q", got)
		}
		if !strings.Contains(b.log.String(), "panic serving pipe: oops") {
			t.Errorf("the log: %s", b.log)
		}
	})
}
