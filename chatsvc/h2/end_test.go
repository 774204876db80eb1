package h2_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// Shutdown tells clients, lets calls end, takes no new ones, and returns when
// the last has ended.
func TestShutdown(t *testing.T) {
	t.Parallel()
	var release chan struct{}
	handler := func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "done")
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		release = make(chan struct{})
		idle, active, fresh := b.dial(), b.dial(), b.connect()
		active.request(1, true, get)
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- b.h2.Shutdown(t.Context()) }()
		if code := idle.untilEnd(); code != int(http2.ErrCodeNo) {
			t.Errorf("idle: ended with the code %d", code)
		}
		fresh.untilEnd()
		away := active.until(func(f http2.Frame) bool { _, ok := f.(*http2.GoAwayFrame); return ok }).(*http2.GoAwayFrame)
		if away.LastStreamID != 1 {
			t.Errorf("last stream %d", away.LastStreamID)
		}
		active.request(3, true, get) // it is too late
		time.Sleep(time.Minute)
		select {
		case err := <-stopped:
			t.Fatalf("Shutdown returned %v while a call runs", err)
		default:
		}
		close(release)
		if got := active.answer(1).text(); got != "200 done" {
			t.Errorf("answer %q", got)
		}
		start := time.Now()
		active.untilEnd()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		between(t, start, 0, time.Second)
	})
}

// Shutdown returns when its time is over, and Close ends the rest.
func TestShutdownTime(t *testing.T) {
	t.Parallel()
	var ended chan error
	handler := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		ended <- r.Context().Err()
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		ended = make(chan error, 1)
		p := b.dial()
		p.request(1, true, get)
		synctest.Wait()
		b.wg.Go(func() { _, _ = io.Copy(io.Discard, p.nc) })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := b.h2.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		_ = b.h2.Close()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// A call's context ends when the client resets the stream, when the connection
// ends, and when the handler returns.
func TestContextEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *peer){
		"reset":      func(p *peer) { p.check(p.WriteRSTStream(1, http2.ErrCodeCancel)) },
		"connection": func(p *peer) { _ = p.nc.Close() },
		"violation":  func(p *peer) { p.check(p.WriteRawFrame(http2.FramePing, 0, 0, nil)) },
		"return":     func(p *peer) { p.check(p.WriteData(1, true, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ended chan struct{}
			handler := func(_ http.ResponseWriter, r *http.Request) {
				context.AfterFunc(r.Context(), func() { close(ended) })
				_, _ = io.Copy(io.Discard, r.Body)
			}
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(_ *testing.T, b *bubble) {
				ended = make(chan struct{})
				p := b.dial()
				p.request(1, false, post)
				end(p)
				b.wg.Go(func() { _, _ = io.Copy(io.Discard, p.nc) })
				<-ended
				_ = p.nc.Close()
			})
		})
	}
}

// A header block on a stream that has ended is a connection error, also while the handler
// runs. On a stream that is still answered, it is a stream error.
func TestHeaderBlockAfterEnd(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush() // which ends the answer to HEAD
		<-r.Context().Done()
	}
	for method, away := range map[string]int{http.MethodHead: int(http2.ErrCodeStreamClosed), http.MethodGet: -1} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				p := b.dial()
				c := b.count(p)
				p.request(1, true, []string{":method", method, ":scheme", "http", ":path", "/"})
				synctest.Wait()
				p.request(1, true, get)
				synctest.Wait()
				c.mu.Lock()
				defer c.mu.Unlock()
				if code, reset := c.resets[1]; c.away != away || reset && code != http2.ErrCodeStreamClosed || !reset && away < 0 {
					t.Errorf("GOAWAY %d, resets %v", c.away, c.resets)
				}
			})
		})
	}
}

// A goroutine that reads a body after the handler has returned does not wait for ever,
// and one that writes gets an error.
func TestAfterHandler(t *testing.T) {
	t.Parallel()
	var read, written chan error
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		go func() {
			_, err := io.Copy(io.Discard, r.Body)
			read <- err
			_, err = w.Write(make([]byte, 8<<10))
			written <- err
		}()
		time.Sleep(time.Second)
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		read, written = make(chan error, 1), make(chan error, 1)
		p := b.dial()
		p.request(1, false, post)
		if got := p.answer(1).text(); got != "200" {
			t.Errorf("answer %q", got)
		}
		if got := p.until(func(f http2.Frame) bool { _, ok := f.(*http2.RSTStreamFrame); return ok }); got.Header().StreamID != 1 {
			t.Errorf("got %v", got)
		}
		if err := <-read; err == nil {
			t.Error("the body was read to its end")
		}
		if err := <-written; err == nil {
			t.Error("the late write succeeded")
		}
		p.request(3, true, get)
		p.untilAnswered(3)
	})
}

// A handler can read a body that has arrived, even if the client has gone.
func TestBodyOfClientThatHasGone(t *testing.T) {
	t.Parallel()
	var got chan string
	handler := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- string(body)
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		got = make(chan string, 1)
		p := b.dial()
		p.request(1, false, post)
		p.check(p.WriteData(1, true, []byte("hello")))
		_ = p.nc.Close()
		if body := <-got; body != "hello" {
			t.Errorf("got %q", body)
		}
	})
}

// A handler that asks for it by [http.CloseNotifier] learns that its client has
// gone, and a client that stays does not trigger it.
func TestCloseNotifier(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(p *peer){
		"reset":      func(p *peer) { p.check(p.WriteRSTStream(1, http2.ErrCodeCancel)) },
		"connection": func(p *peer) { _ = p.nc.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var gone <-chan bool
			learned := false
			handler := func(w http.ResponseWriter, _ *http.Request) {
				gone = w.(http.CloseNotifier).CloseNotify() //nolint:staticcheck // deprecated, but in use
				learned = <-gone
			}
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				p := b.dial()
				p.request(1, true, get)
				synctest.Wait()
				if len(gone) > 0 {
					t.Error("the client has not gone yet")
				}
				end(p)
				b.wg.Go(func() { _, _ = io.Copy(io.Discard, p.nc) })
				if synctest.Wait(); !learned {
					t.Error("the handler does not learn it")
				}
				_ = p.nc.Close()
			})
		})
	}
}

// A client that waits for 100 (Continue) gets it once, whether the handler sends
// it or reads the body.
func TestContinueOnce(t *testing.T) {
	t.Parallel()
	for name, informs := range map[string]int{"by reading": 0, "by the handler": 1, "by the handler, twice": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := func(w http.ResponseWriter, r *http.Request) {
				for range informs {
					w.WriteHeader(http.StatusContinue)
				}
				_, _ = io.Copy(io.Discard, r.Body)
			}
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				p := b.dial()
				p.request(1, false, post, "expect", "100-continue")
				a := new(answer)
				p.until(func(f http2.Frame) bool { a.take(f); return len(a.interim) > 0 })
				p.check(p.WriteData(1, true, []byte("hello")))
				p.until(a.take)
				if want := max(informs, 1); len(a.interim) != want || a.status != "200" {
					t.Errorf("%q, not %d interim responses", a.text(), want)
				}
			})
		})
	}
}

// Data that arrives after the deadline for the body is dropped, and its window is
// returned to the connection.
func TestBodyAfterDeadline(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(time.Second))
		_, err := io.Copy(io.Discard, r.Body)
		_ = control.SetReadDeadline(time.Time{})
		time.Sleep(time.Second) // the client sends
		n, again := io.Copy(io.Discard, r.Body)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.Is(again, os.ErrDeadlineExceeded) {
			t.Errorf("read %d bytes; %v, %v", n, err, again)
		}
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		p := b.dial()
		c := b.count(p)
		for id := uint32(1); id < 40; id += 2 { // 20 times a quarter of the connection's window
			p.request(id, false, post)
			time.Sleep(1500 * time.Millisecond)
			for range 16 {
				p.check(p.WriteData(id, false, make([]byte, 16<<10)))
			}
			p.check(p.WriteData(id, true, nil))
			time.Sleep(time.Second)
		}
		if synctest.Wait(); c.ended != 20 || c.away >= 0 {
			t.Errorf("%d calls answered, GOAWAY %d", c.ended, c.away)
		}
	})
}
