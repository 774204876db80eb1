package h2_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// between checks how long ago start was.
func between(tb testing.TB, start time.Time, least, most time.Duration) {
	tb.Helper()
	if d := time.Since(start); d < least || d > most {
		tb.Errorf("after %v, not between %v and %v", d, least, most)
	}
}

// A connection that does not begin in time ends, however it delays.
func TestSlowBeginning(t *testing.T) {
	t.Parallel()
	drip := func(bytes string) func(p *peer) {
		return func(p *peer) {
			for i := range len(bytes) {
				if _, err := p.nc.Write([]byte{bytes[i]}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}
	}
	settings := "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x01"
	for name, send := range map[string]func(p *peer){
		"nothing":               func(*peer) {},
		"preface, drop by drop": drip(http2.ClientPreface),
		"preface only":          func(p *peer) { _, _ = io.WriteString(p.nc, http2.ClientPreface) },
		"settings, drop by drop": func(p *peer) {
			_, _ = io.WriteString(p.nc, http2.ClientPreface)
			drip(settings)(p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{ReadHeaderTimeout: 5 * time.Second}, func(t *testing.T, b *bubble) {
				p, start := b.connect(), time.Now()
				b.wg.Go(func() { send(p) })
				p.untilEnd()
				between(t, start, 5*time.Second, 10*time.Second)
			})
		})
	}
}

// A header block has the time of ReadHeaderTimeout to end, also beside another
// call, and also when it comes drop by drop.
func TestSlowHeaderBlock(t *testing.T) {
	t.Parallel()
	part := func(p *peer, id uint32) {
		p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.encode(get...)}))
	}
	for name, send := range map[string]func(p *peer){
		"nothing more": func(p *peer) { part(p, 1) },
		"beside a call": func(p *peer) {
			p.request(1, false, post)
			part(p, 3)
		},
		"trailers": func(p *peer) {
			p.request(1, false, post)
			p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("a", "b"), EndStream: true}))
		},
		"frame by frame": func(p *peer) {
			part(p, 1)
			for p.WriteContinuation(1, false, nil) == nil {
				time.Sleep(time.Second)
			}
		},
		"byte by byte": func(p *peer) {
			frame := append([]byte{0, 0, 200, byte(http2.FrameHeaders), 0, 0, 0, 0, 1}, make([]byte, 200)...)
			for i := range frame {
				if _, err := p.nc.Write(frame[i : i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
			srv := &http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second}
			inBubble(t, srv, func(t *testing.T, b *bubble) {
				p, start := b.dial(), time.Now()
				b.wg.Go(func() { send(p) })
				if code := p.untilEnd(); code != int(http2.ErrCodeEnhanceYourCalm) {
					t.Errorf("ended with the code %d", code)
				}
				between(t, start, 10*time.Second, 30*time.Second)
			})
		})
	}
}

// A client that is as slow, but ends each header block in time, is served.
func TestSlowHeaderBlocksThatEnd(t *testing.T) {
	t.Parallel()
	srv := &http.Server{Handler: http.HandlerFunc(describe), ReadHeaderTimeout: 10 * time.Second}
	inBubble(t, srv, func(t *testing.T, b *bubble) {
		p := b.dial()
		for id := uint32(1); id < 40; id += 2 {
			block := append([]byte(nil), p.encode(get...)...)
			p.check(p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndStream: true}))
			time.Sleep(9 * time.Second)
			p.check(p.WriteContinuation(id, true, nil))
			if got := p.answer(id); got.status != "200" {
				t.Fatalf("call %d: %q", id, got.text())
			}
		}
	})
}

// A ping is also missed by a client that sends no frame to its end.
func TestFrameWithoutEnd(t *testing.T) {
	t.Parallel()
	config := &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second}
	inBubble(t, &http.Server{HTTP2: config}, func(t *testing.T, b *bubble) {
		p, start := b.dial(), time.Now()
		b.wg.Go(func() {
			for _, err := p.nc.Write([]byte{0, 0x10, 0, 0x99, 0, 0, 0, 0, 1}); err == nil; _, err = p.nc.Write([]byte{0}) {
				time.Sleep(time.Second)
			}
		})
		p.untilEnd()
		between(t, start, 30*time.Second, time.Minute)
	})
}

// A connection without calls ends after the idle timeout; one with calls that
// are short, or with one that is long, does not.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			<-ended
		}
		w.WriteHeader(http.StatusNoContent)
	}
	inBubble(t, &http.Server{IdleTimeout: time.Minute, Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		ended = make(chan struct{})
		p, id := b.dial(), uint32(1)
		for range 600 {
			p.request(id, true, get)
			p.untilAnswered(id)
			id += 2
			time.Sleep(time.Second)
		}
		p.request(id, true, post)
		time.Sleep(time.Hour)
		close(ended)
		p.untilAnswered(id)
		start := time.Now()
		if code := p.untilEnd(); code != int(http2.ErrCodeNo) {
			t.Errorf("ended with the code %d", code)
		}
		between(t, start, time.Minute, 2*time.Minute)
	})
}

// A client that is silent is asked whether it lives. If it answers, the
// connection stays; if not, it ends.
func TestPing(t *testing.T) {
	t.Parallel()
	config := &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 10 * time.Second}
	inBubble(t, &http.Server{HTTP2: config}, func(t *testing.T, b *bubble) {
		p := b.dial()
		isPing := func(f http2.Frame) bool { _, ok := f.(*http2.PingFrame); return ok }
		for range 10 {
			start := time.Now()
			ping := p.until(isPing).(*http2.PingFrame)
			between(t, start, 20*time.Second, 30*time.Second)
			p.check(p.WritePing(true, ping.Data))
		}
		p.until(isPing)
		start := time.Now()
		p.untilEnd()
		between(t, start, 10*time.Second, 20*time.Second)
	})
}

// A client that reads no bytes is cut off, and the handler that writes learns it. One
// that takes them slowly is not.
func TestStuckClient(t *testing.T) {
	t.Parallel()
	config := &http.HTTP2Config{WriteByteTimeout: 30 * time.Second}
	windows := http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}
	for name, slowly := range map[string]bool{"stuck": false, "slow": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed chan error
			handler := func(w http.ResponseWriter, _ *http.Request) {
				_, err := w.Write(make([]byte, 1<<20))
				failed <- err
			}
			inBubble(t, &http.Server{HTTP2: config, Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				failed = make(chan error, 1)
				p := b.dial(windows)
				p.check(p.WriteWindowUpdate(0, 1<<20))
				p.request(1, true, get)
				start := time.Now()
				if !slowly {
					if err := <-failed; err == nil {
						t.Error("the handler's write succeeded")
					}
					between(t, start, 30*time.Second, time.Minute)
					return
				}
				got := 0
				p.until(func(f http2.Frame) bool {
					got += int(f.Header().Length)
					time.Sleep(5 * time.Second)
					return got > 1<<20
				})
				if err := <-failed; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Deadlines of a call hold against a client that sends no body, and against a
// window that stays closed.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		handler func(control *http.ResponseController, w http.ResponseWriter, r *http.Request) error
		want    string // of the answer
	}{
		"read": {func(control *http.ResponseController, _ http.ResponseWriter, r *http.Request) error {
			_ = control.SetReadDeadline(time.Now().Add(time.Minute))
			_, err := io.Copy(io.Discard, r.Body)
			return err
		}, "200"},
		"read, prolonged": {func(control *http.ResponseController, _ http.ResponseWriter, r *http.Request) error {
			_ = control.SetReadDeadline(time.Now().Add(time.Second))
			_ = control.SetReadDeadline(time.Now().Add(time.Minute))
			_, err := io.Copy(io.Discard, r.Body)
			return err
		}, "200"},
		"read, prolonged too late": {func(control *http.ResponseController, _ http.ResponseWriter, r *http.Request) error {
			_ = control.SetReadDeadline(time.Now().Add(time.Minute))
			_, _ = io.Copy(io.Discard, r.Body)
			_ = control.SetReadDeadline(time.Now().Add(time.Minute))
			_, err := io.Copy(io.Discard, r.Body)
			return err
		}, "200"},
		"write": {func(control *http.ResponseController, w http.ResponseWriter, _ *http.Request) error {
			_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}, "200 INTERNAL_ERROR"},
		"write, at the end": {func(control *http.ResponseController, w http.ResponseWriter, _ *http.Request) error {
			_ = control.SetWriteDeadline(time.Now().Add(time.Minute))
			_, err := w.Write(make([]byte, 1<<10))
			return errors.Join(err, os.ErrDeadlineExceeded)
		}, "200 INTERNAL_ERROR"},
		"write, by another goroutine": {func(control *http.ResponseController, w http.ResponseWriter, _ *http.Request) error {
			time.AfterFunc(time.Minute, func() { _ = control.SetWriteDeadline(time.Unix(1, 0)) })
			_, err := w.Write(make([]byte, 1<<20))
			return err
		}, "200 INTERNAL_ERROR"},
		"write, cleared": {func(control *http.ResponseController, w http.ResponseWriter, _ *http.Request) error {
			_ = control.SetWriteDeadline(time.Now().Add(time.Second))
			_ = control.SetWriteDeadline(time.Time{})
			time.Sleep(time.Minute)
			w.WriteHeader(http.StatusOK)
			return errors.Join(control.Flush(), os.ErrDeadlineExceeded)
		}, "200"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var done chan error
			handler := func(w http.ResponseWriter, r *http.Request) {
				done <- test.handler(http.NewResponseController(w), w, r)
			}
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				done = make(chan error, 1)
				p, start := b.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}), time.Now()
				p.request(1, false, post)
				got := p.answer(1)
				if got.body = nil; got.text() != test.want {
					t.Errorf("answer %q", got.text())
				}
				between(t, start, time.Minute, time.Minute)
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
			})
		})
	}
}

// A client whose call was answered early may send the rest; one that does not is
// told that it need not.
func TestRestOfARequest(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		p := b.dial()
		p.request(1, false, post)
		p.untilAnswered(1)
		p.check(p.WriteData(1, true, []byte("late")))
		time.Sleep(time.Second)
		p.request(3, false, post)
		p.untilAnswered(3)
		start := time.Now()
		p.until(func(f http2.Frame) bool {
			reset, ok := f.(*http2.RSTStreamFrame)
			if ok && (reset.StreamID != 3 || reset.ErrCode != http2.ErrCodeNo) {
				t.Errorf("%v", reset)
			}
			return ok
		})
		between(t, start, 50*time.Millisecond, 200*time.Millisecond)
	})
}
