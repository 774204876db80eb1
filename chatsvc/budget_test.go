package chatsvc_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// unfinishedBody yields bytes and then blocks until it is closed.
type unfinishedBody struct {
	left    int
	blocked func()
	closed  <-chan struct{}
}

// Read implements [io.Reader].
func (b *unfinishedBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		b.blocked()
		<-b.closed
		return 0, io.ErrUnexpectedEOF
	}
	n := min(len(p), b.left)
	clear(p[:n])
	b.left -= n
	return n, nil
}

// Many unfinished sends hold no more memory than the bound, those that are refused
// are asked to come back, and the messages of another user still arrive.
//
//nolint:paralleltest // it measures the heap
func TestUnfinishedBodiesAreBounded(t *testing.T) {
	const bodies, size, limit = 250, 1 << 20, 16 << 20
	for _, transport := range []transport{transports[0], transports[1], transports[3], transports[4]} {
		t.Run(transport.name, func(t *testing.T) {
			svc := newService(t, chatsvc.WithBodyBytes(limit))
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			f := face{service: svc, server: s, protocol: wireProtocols[0]}
			honest := f.as(t, "user2", "qwerty")
			send(chattest.Context(t, patience), t, honest, text("before"))
			before := liveHeap()

			ctx, cancel := context.WithCancel(chattest.Context(t, patience))
			var calls, settled sync.WaitGroup
			var refused atomic.Int32
			client := s.newClient(t)
			for range bodies {
				var once sync.Once
				settle := func() { once.Do(settled.Done) }
				settled.Add(1)
				calls.Go(func() {
					defer settle()
					body := &unfinishedBody{left: size, blocked: settle, closed: ctx.Done()}
					req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.url+chatconnect.SimpleChatSendMessageProcedure, body)
					req.ContentLength = size + 1
					req.Header = http.Header{"Content-Type": {"application/proto"}, "User-Name": {"user1"}, "User-Password": {"qwerty"}}
					res, err := client.Do(req)
					if err != nil {
						return
					}
					defer func() { _ = res.Body.Close() }()
					if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "1" {
						refused.Add(1)
					}
				})
			}
			settled.Wait()
			// The client's own buffers are in the heap too, until it has read its refusals. A
			// body may take more than 30 s, so what the server holds is still held then.
			var held int64
			for soon := time.Now().Add(15 * time.Second); ; {
				held = liveHeap() - before
				if held <= 3*limit && refused.Load() >= bodies/2 || time.Now().After(soon) {
					break
				}
			}
			if n := refused.Load(); held > 3*limit || n < bodies/2 {
				t.Errorf("%d unfinished bodies hold %d bytes, and %d were refused with a time to come back", bodies, held, n)
			}
			send(chattest.Context(t, patience), t, honest, text(string(bytes.Repeat([]byte("x"), size))))
			cancel()
			calls.Wait()
			again, wait := f.as(t, "user1", "qwerty"), chattest.Context(t, patience)
			for { // all that was held is free again, as soon as the server knows
				_, err := again.SendMessage(wait, text(string(bytes.Repeat([]byte("x"), size))))
				if err == nil {
					break
				}
				if connect.CodeOf(err) != connect.CodeResourceExhausted {
					t.Fatal(err)
				}
			}
		})
	}
}

// liveHeap returns the bytes that are in use.
func liveHeap() int64 {
	for range 3 { // pools are empty after the second collection
		runtime.GC()
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
