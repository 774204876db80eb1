package h2_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc/chattest"
)

// Many clients at once call, read slowly, reset and leave, and in the midst of
// it the server shuts down. Each answer that is complete is the right one, every
// handler ends, and so does Shutdown.
func TestStress(t *testing.T) {
	t.Parallel()
	for _, face := range faces {
		if !face.http2 {
			continue
		}
		t.Run(face.name, func(t *testing.T) {
			t.Parallel()
			var running, complete atomic.Int64
			mux := http.NewServeMux()
			mux.HandleFunc("/echo", echo)
			mux.HandleFunc("/stream", stream)
			counted := func(w http.ResponseWriter, r *http.Request) {
				running.Add(1)
				defer running.Add(-1)
				mux.ServeHTTP(w, r)
			}
			s := face.start(t, &http.Server{
				Handler: http.HandlerFunc(counted),
				HTTP2:   &http.HTTP2Config{MaxConcurrentStreams: 20, SendPingTimeout: 20 * time.Millisecond, PingTimeout: patience},
			})
			var clients sync.WaitGroup
			ctx, leave := context.WithCancel(chattest.Context(t, patience))
			for i := range 6 {
				clients.Go(func() { s.hammer(ctx, t, &complete, uint64(i)) })
				clients.Go(func() { s.tear(ctx, t, uint64(i)) })
			}
			for complete.Load() < 200 {
				if ctx.Err() != nil {
					t.Fatalf("%d calls within %v", complete.Load(), patience)
				}
				time.Sleep(time.Millisecond)
			}
			// The streams do not end by themselves: the clients leave during the shutdown.
			stopped := make(chan error, 1)
			go func() { stopped <- s.h2.Shutdown(chattest.Context(t, patience)) }()
			leave()
			clients.Wait()
			if err := <-stopped; err != nil {
				t.Error(err)
			}
			for end := time.Now().Add(patience); running.Load() > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d handlers are left", running.Load())
				}
			}
		})
	}
}

// stream writes until its client leaves.
func stream(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	for size := 1; r.Context().Err() == nil; size = size*3%50_000 + 1 {
		_ = control.SetWriteDeadline(time.Now().Add(patience))
		if _, err := w.Write(make([]byte, size)); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
	}
}

// hammer calls with net/http's client until ctx is done.
func (s *server) hammer(ctx context.Context, t *testing.T, complete *atomic.Int64, seed uint64) {
	t.Helper()
	client := s.client(t, true)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				s.callOnce(ctx, t, client, random, complete)
			}
		})
	}
	wg.Wait()
}

func (s *server) callOnce(ctx context.Context, t *testing.T, client *http.Client, random *rand.Rand, complete *atomic.Int64) {
	t.Helper()
	body := bytes.Repeat([]byte{byte(random.Int())}, 1<<random.IntN(17))
	path, limit := "/echo", int64(1<<20)
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	switch random.IntN(4) {
	case 0:
		path, limit = "/stream", int64(random.IntN(200_000))
	case 1:
		time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
	}
	req, err := http.NewRequestWithContext(callCtx, http.MethodPost, s.url+path, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	resp, err := client.Do(req)
	if err != nil {
		return // cancelled, or the server shuts down
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(io.LimitReader(resp.Body, limit))
	if err != nil || path != "/echo" {
		return
	}
	if complete.Add(1); !bytes.Equal(got, body) {
		t.Errorf("%d bytes are not the %d that were sent", len(got), len(body))
	}
}

// tear opens connections, leaves calls in all states that there are, and drops
// them.
func (s *server) tear(ctx context.Context, t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 99))
	for ctx.Err() == nil {
		nc, err := s.open()
		if err != nil {
			return // the server shuts down
		}
		p := newPeer(t, nc)
		_, err = io.WriteString(nc, http2.ClientPreface)
		err = errors.Join(err, p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(random.IntN(100_000))}))
		for id := uint32(1); err == nil && id < 40; id += 2 {
			err = p.WriteHeaders(http2.HeadersFrameParam{
				StreamID: id, EndHeaders: true,
				BlockFragment: p.encode(":method", "POST", ":scheme", "http", ":path", []string{"/echo", "/stream"}[random.IntN(2)]),
			})
			switch random.IntN(5) {
			case 0:
				err = errors.Join(err, p.WriteRSTStream(id, http2.ErrCodeCancel))
			case 1:
				err = errors.Join(err, p.WriteData(id, true, make([]byte, random.IntN(10_000))))
			case 2:
				err = errors.Join(err, p.WriteWindowUpdate(0, uint32(random.IntN(100_000)+1)))
			case 3:
				err = errors.Join(err, p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(random.IntN(100_000))}))
			}
		}
		_ = nc.SetDeadline(time.Now().Add(time.Duration(random.IntN(50)) * time.Millisecond))
		_, _ = io.Copy(io.Discard, nc)
		_ = nc.Close()
	}
}
