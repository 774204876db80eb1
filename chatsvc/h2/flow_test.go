package h2_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
)

// counter reads the output of a server, and counts the bytes of bodies.
type counter struct {
	mu     sync.Mutex // guards all below
	bytes  map[uint32]int
	total  int
	ended  int // streams that the server has ended
	resets map[uint32]http2.ErrCode
	away   int // code of the last GOAWAY, or -1
	ponged int
}

// count reads from p until it ends.
func (b *bubble) count(p *peer) *counter {
	c := &counter{bytes: make(map[uint32]int), resets: make(map[uint32]http2.ErrCode), away: -1}
	b.wg.Go(func() {
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			c.take(f)
		}
	})
	return c
}

func (c *counter) take(f http2.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch f := f.(type) {
	case *http2.DataFrame:
		c.bytes[f.StreamID] += len(f.Data())
		c.total += len(f.Data())
		if f.StreamEnded() {
			c.ended++
		}
	case *http2.MetaHeadersFrame:
		if f.StreamEnded() {
			c.ended++
		}
	case *http2.RSTStreamFrame:
		c.resets[f.StreamID] = f.ErrCode
	case *http2.GoAwayFrame:
		c.away = int(f.ErrCode)
	case *http2.PingFrame:
		c.ponged++
	}
}

// now returns the counts when nothing moves any more.
func (c *counter) now() (total int, byStream func(id uint32) int) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total, func(id uint32) int { return c.bytes[id] }
}

func large(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1<<20)) }

// The server sends as much as the windows of stream and connection allow, not a byte more
// or less, also after the settings have changed them.
func TestSendWindow(t *testing.T) {
	t.Parallel()
	window := func(size uint32) http2.Setting {
		return http2.Setting{ID: http2.SettingInitialWindowSize, Val: size}
	}
	inBubble(t, &http.Server{Handler: http.HandlerFunc(large)}, func(t *testing.T, b *bubble) {
		p := b.dial(window(100))
		c := b.count(p)
		p.request(1, true, get)
		for i, step := range []struct {
			do   func()
			want int
		}{
			{func() {}, 100},
			{func() { p.check(p.WriteSettings(window(10))) }, 100},  // -90
			{func() { p.check(p.WriteWindowUpdate(1, 90)) }, 100},   // 0
			{func() { p.check(p.WriteWindowUpdate(1, 1)) }, 101},    // 0
			{func() { p.check(p.WriteSettings(window(0))) }, 101},   // -10
			{func() { p.check(p.WriteSettings(window(20))) }, 111},  // 0
			{func() { p.check(p.WriteWindowUpdate(0, 1000)) }, 111}, // the connection's
			{func() { p.check(p.WriteWindowUpdate(1, 1<<20)) }, 65535 + 1000},
			{func() { p.check(p.WriteWindowUpdate(0, 1)) }, 65535 + 1001},
			{func() { p.check(p.WriteWindowUpdate(0, 1<<20)) }, 1 << 20},
		} {
			step.do()
			if got, _ := c.now(); got != step.want {
				t.Errorf("step %d: %d bytes, not %d", i, got, step.want)
			}
		}
	})
}

// Streams share the connection's window, and one whose own is closed holds up no
// other.
func TestSharedWindow(t *testing.T) {
	t.Parallel()
	inBubble(t, &http.Server{Handler: http.HandlerFunc(large)}, func(t *testing.T, b *bubble) {
		p := b.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		c := b.count(p)
		for id := uint32(1); id < 20; id += 2 {
			p.request(id, true, get)
		}
		if got, _ := c.now(); got != 0 {
			t.Errorf("%d bytes through closed windows", got)
		}
		p.check(p.WriteWindowUpdate(7, 100))
		if got, of := c.now(); got != 100 || of(7) != 100 {
			t.Errorf("%d bytes, %d of stream 7", got, of(7))
		}
		p.check(p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20}))
		if got, _ := c.now(); got != 65535 {
			t.Errorf("%d bytes through the connection's window", got)
		}
		p.check(p.WriteRSTStream(1, http2.ErrCodeCancel))
		p.check(p.WriteWindowUpdate(0, 10<<20))
		if synctest.Wait(); c.ended != 9 {
			t.Errorf("%d of 9 streams have ended", c.ended)
		}
	})
}

// A client that exceeds a window that the server has opened to it is in error.
func TestReceiveWindowExceeded(t *testing.T) {
	t.Parallel()
	wait := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	for name, test := range map[string]struct {
		streams int
		frames  int // of 16 KiB, on each
		reset   int
		away    int
	}{
		"stream, full":         {1, 16, 0, -1},
		"stream, exceeded":     {1, 17, 1, -1},
		"connection, full":     {4, 16, 0, -1},
		"connection, exceeded": {5, 16, 0, int(http2.ErrCodeFlowControl)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, &http.Server{Handler: http.HandlerFunc(wait)}, func(t *testing.T, b *bubble) {
				p := b.dial()
				c := b.count(p)
				for i := range test.streams {
					id := uint32(2*i + 1)
					p.request(id, false, post)
					for range test.frames {
						_ = p.WriteData(id, false, make([]byte, 16<<10))
					}
				}
				synctest.Wait()
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.away != test.away || c.away < 0 && len(c.resets) != test.reset {
					t.Errorf("resets %v, GOAWAY %d", c.resets, c.away)
				}
			})
		})
	}
}

// sendBody sends size bytes as fast as the windows allow.
func (b *bubble) sendBody(p *peer, id uint32, size int) {
	stream, conn := 256<<10, 1<<20
	c := make(chan func(), 1000)
	b.wg.Go(func() {
		defer close(c)
		for {
			f, err := p.ReadFrame()
			if err != nil {
				return
			}
			if f, ok := f.(*http2.WindowUpdateFrame); ok {
				of, n := &conn, int(f.Increment)
				if f.StreamID != 0 {
					of = &stream
				}
				c <- func() { *of += n }
			}
		}
	})
	for size > 0 {
		n := min(size, stream, conn, 16<<10)
		if n == 0 {
			granted, ok := <-c
			if !ok {
				return
			}
			granted()
			continue
		}
		size, stream, conn = size-n, stream-n, conn-n
		if p.WriteData(id, size == 0, make([]byte, n)) != nil {
			return
		}
	}
}

// A body that comes faster than it is read does not pile up, also if its reader
// never catches up.
func TestReaderThatNeverCatchesUp(t *testing.T) { //nolint:paralleltest // it looks at the heap
	const size = 64 << 20
	inBubble(t, &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		read := make([]byte, 1<<10)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for got := 0; got < size-1<<20; {
			time.Sleep(time.Microsecond) // so that the client is ahead
			n, err := r.Body.Read(read)
			if err != nil {
				t.Error(err)
				return
			}
			got += n
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
			t.Errorf("the heap has grown by %d MiB", grown>>20)
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})}, func(_ *testing.T, b *bubble) {
		p := b.dial()
		p.request(1, false, post)
		b.sendBody(p, 1, size)
		synctest.Wait()
	})
}

// Bytes that nobody reads are given back to the connection: those of a closed
// body, of a call that has ended, of one that was reset, and padding.
func TestConnectionWindowIsGivenBack(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]http.HandlerFunc{
		"closed":   func(_ http.ResponseWriter, r *http.Request) { _ = r.Body.Close(); <-r.Context().Done() },
		"returned": func(http.ResponseWriter, *http.Request) {},
		"unread":   func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"panics":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /", handler)
			mux.HandleFunc("POST /", handler)
			mux.HandleFunc("PUT /", echo)
			inBubble(t, &http.Server{Handler: mux}, func(t *testing.T, b *bubble) {
				p := b.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
				c := b.count(p)
				id := uint32(1)
				for range 20 { // 20 times a quarter of the window
					p.request(id, false, post)
					for range 16 {
						_ = p.WriteDataPadded(id, false, make([]byte, 16<<10-101), make([]byte, 100))
					}
					p.check(p.WriteRSTStream(id, http2.ErrCodeCancel))
					synctest.Wait()
					id += 2
				}
				p.request(id, false, []string{":method", "PUT", ":scheme", "http", ":path", "/"})
				p.check(p.WriteData(id, true, make([]byte, 10<<10)))
				if _, of := c.now(); of(id) != 10<<10 {
					t.Errorf("%d bytes echoed, GOAWAY %d", of(id), c.away)
				}
			})
		})
	}
}

// A ping while many handlers wait to write is answered: their bytes do not count
// as answers that the client does not take.
func TestPingDuringFanOut(t *testing.T) {
	t.Parallel()
	const streams, size = 200, 64 << 10
	handler := func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, size)) }
	inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
		p := b.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
		p.check(p.WriteWindowUpdate(0, streams*size))
		for i := range uint32(streams) {
			p.request(2*i+1, true, get)
		}
		synctest.Wait() // all wait for the client to read
		for range 100 {
			p.check(p.WritePing(false, [8]byte{}))
		}
		c := b.count(p)
		if total, _ := c.now(); total != streams*size || c.ended != streams || c.ponged != 100 {
			t.Errorf("%d bytes, %d streams, %d pings, GOAWAY %d", total, c.ended, c.ponged, c.away)
		}
	})
}

// When a connection breaks, every handler that waits to write on it learns so.
func TestBrokenWriteEndsAllWriters(t *testing.T) {
	t.Parallel()
	const streams = 100
	for _, size := range []int{100, 10 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var failed sync.WaitGroup
			handler := func(w http.ResponseWriter, _ *http.Request) {
				defer failed.Done()
				for {
					_, err := w.Write(make([]byte, size))
					if err == nil {
						err = http.NewResponseController(w).Flush()
					}
					if err != nil {
						return
					}
				}
			}
			inBubble(t, &http.Server{Handler: http.HandlerFunc(handler)}, func(t *testing.T, b *bubble) {
				failed.Add(streams)
				p := b.dial(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
				p.check(p.WriteWindowUpdate(0, 1<<30))
				for i := range uint32(streams) {
					p.request(2*i+1, true, get)
				}
				for range 1000 {
					if _, err := p.ReadFrame(); err != nil {
						t.Fatal(err)
					}
				}
				_ = p.nc.Close()
				failed.Wait()
			})
		})
	}
}
