package chatsvc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// stuckClients are ways to stop taking data. start opens a stream and stops; it
// returns a function that reads on to the end of the stream.
var stuckClients = []struct {
	name  string
	start func(tb testing.TB, w wire) (readOn func() error)
}{
	{"no window", func(tb testing.TB, w wire) func() error {
		return stuckStream(tb, w, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	}},
	{"window used up", func(tb testing.TB, w wire) func() error { return stuckStream(tb, w) }},
	{"HTTP/2 connection not read", func(tb testing.TB, w wire) func() error {
		return stuckStream(tb, w, http2.Setting{ID: http2.SettingInitialWindowSize, Val: math.MaxInt32})
	}},
	{"HTTP/1.1 connection not read", stuckHTTP1},
}

// stuckStream opens a stream, and grants no window but that of the settings.
func stuckStream(tb testing.TB, w wire, settings ...http2.Setting) func() error {
	tb.Helper()
	conn := w.dial(tb, settings...)
	setReadBuffer(tb, conn.conn, 16<<10)
	conn.lowWater = math.MinInt
	if len(settings) > 0 && settings[0].Val > initialWindow {
		conn.check(conn.framer.WriteWindowUpdate(0, math.MaxInt32-initialWindow))
	}
	stream := conn.call(pathList, emptyBatch)
	stream.mustAnswer()
	return func() error {
		setReadBuffer(tb, conn.conn, 1<<20)
		for {
			if _, err := stream.next(); err != nil {
				return err
			}
			if stream.ended {
				return nil
			}
		}
	}
}

// stuckHTTP1 opens a stream over HTTP/1.1 and reads no more than the header.
func stuckHTTP1(tb testing.TB, w wire) func() error {
	tb.Helper()
	conn, err := net.Dial("tcp", w.server.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	setReadBuffer(tb, conn, 16<<10)
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, w.server.url+pathList, strings.NewReader(string(emptyBatch)))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = header("Content-Type", "application/connect+proto")
	if err := req.Write(conn); err != nil {
		tb.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		tb.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		tb.Fatal(res.Status)
	}
	return func() error {
		setReadBuffer(tb, conn, 1<<20)
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, res.Body)
		return err
	}
}

// setReadBuffer bounds the unread bytes of conn that the kernel holds.
func setReadBuffer(tb testing.TB, conn net.Conn, size int) {
	tb.Helper()
	if err := conn.(*net.TCPConn).SetReadBuffer(size); err != nil {
		tb.Fatal(err)
	}
}

// crowd is a sender and healthy subscribers.
type crowd struct {
	sender  chatconnect.SimpleChatClient
	healthy []*chattest.Subscription
}

func newCrowd(ctx context.Context, tb testing.TB, f face) *crowd {
	tb.Helper()
	c := &crowd{sender: f.as(tb, "user1", "qwerty")}
	for range 3 {
		c.healthy = append(c.healthy, chattest.Subscribe(ctx, tb, f.as(tb, "user2", "qwerty")))
	}
	return c
}

// pass sends the messages with the numbers from, from+1 … to-1, of size bytes
// each, and checks that every healthy subscriber gets all of them in order. The
// sender is never more than a few messages ahead of the slowest.
func (c *crowd) pass(ctx context.Context, tb testing.TB, from, to, size int) {
	tb.Helper()
	const ahead = 4
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make([]chan struct{}, len(c.healthy))
	var wg sync.WaitGroup
	for i, sub := range c.healthy {
		sent[i] = make(chan struct{}, ahead)
		wg.Go(func() {
			for n := from; n < to; n++ {
				got, err := sub.Receive()
				if content := got.GetContent(); err == nil && (len(content) != size || string(content[:8]) != fmt.Sprintf("%08d", n)) {
					err = fmt.Errorf("%.8q of %d bytes came, message %d was due", content, len(content), n)
				}
				if err != nil {
					tb.Errorf("subscriber %d: %v", i, err)
					cancel()
					return
				}
				<-sent[i]
			}
		})
	}
	for n := from; n < to && ctx.Err() == nil; n++ {
		for _, one := range sent {
			select {
			case one <- struct{}{}:
			case <-ctx.Done():
			}
		}
		if _, err := c.sender.SendMessage(ctx, numbered(n, size)); err != nil && ctx.Err() == nil {
			tb.Errorf("send: %v", err)
			cancel()
		}
	}
	wg.Wait()
	if tb.Failed() {
		tb.FailNow()
	}
}

// A subscriber that does not read holds nothing but an offset: the messages are ten times
// as large as the allowed growth of the heap.
func TestSlowSubscribersCostNoMemory(t *testing.T) {
	const (
		size    = 64 << 10
		warmUp  = 64   // messages
		passed  = 1600 // messages, 100 MiB
		allowed = 10 << 20
	)
	for _, transport := range h2cTransports {
		t.Run(transport.name, func(t *testing.T) {
			w := newWire(t, qtClients[1], transport, chatsvc.WithRetention(chatsvc.Retention{Bytes: 1 << 20}))
			for _, stuck := range stuckClients {
				stuck.start(t, w)
			}
			ctx := longContext(t)
			crowd := newCrowd(ctx, t, w.face)
			crowd.pass(ctx, t, 0, warmUp, size)
			before := heap()
			crowd.pass(ctx, t, warmUp, warmUp+passed, size)
			if grown := heap() - before; grown > allowed {
				t.Errorf("the heap grew by %d KiB while %d KiB passed through", grown>>10, passed*size>>10)
			}
		})
	}
}

// longContext is a context for tests that keep the machine busy.
func longContext(tb testing.TB) context.Context {
	tb.Helper()
	return chattest.Context(tb, 4*patience)
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools still held
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// A subscriber that reads no data within the write deadline is cut. The others get all
// messages.
func TestSlowSubscribersAreCut(t *testing.T) {
	t.Parallel()
	for _, stuck := range stuckClients {
		t.Run(stuck.name, func(t *testing.T) {
			t.Parallel()
			forEachQt(t, func(t *testing.T, w wire) {
				readOn := stuck.start(t, w)
				ctx := chattest.Context(t, patience)
				// Sockets hold a few megabytes.
				newCrowd(ctx, t, w.face).pass(ctx, t, 0, 200, 64<<10)
				// It returns when the handlers have, and only a write that is cut lets
				// the stuck one do so.
				if err := w.service.Shutdown(ctx); err != nil {
					t.Fatalf("Shutdown: %v", err)
				}
				if err := readOn(); err == nil {
					t.Error("the stream ended as it should, it was not cut")
				} else if errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the stream continues")
				}
			}, chatsvc.WithWriteDeadline(3*time.Second)) // a busy machine may stop the others for a second
		})
	}
}

// A subscriber whose next record is gone is told so, after whole messages in
// order: nothing is passed over in silence.
func TestSlowSubscriberFallsOut(t *testing.T) {
	t.Parallel()
	const messages, size = 400, 10_000
	forEachQt(t, func(t *testing.T, w wire) {
		conn := w.dial(t)
		conn.lowWater = math.MinInt // read no further than the window
		stream := conn.call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		ctx := chattest.Context(t, patience)
		newCrowd(ctx, t, w.face).pass(ctx, t, 0, messages, size)
		n := 0
		read := func(batch []*chatpb.ChatMessage) {
			for _, msg := range batch {
				checkNumbered(t, msg, n, size)
				n++
			}
		}
		read(stream.mustBatch())
		conn.lowWater = initialWindow / 2 // read on
		for {
			msg, err := stream.message()
			if errors.Is(err, io.EOF) {
				break
			}
			conn.check(err)
			var batch chatpb.ChatMessages
			conn.check(proto.Unmarshal(msg.data, &batch))
			read(batch.GetMessages())
		}
		if status, text := stream.trailer["grpc-status"], stream.trailer["grpc-message"]; status != "14" || !strings.Contains(text, "no longer retained") {
			t.Errorf("after message %d the stream ended with status %s, %q", n, status, text)
		}
		if n == 0 || n == messages {
			t.Errorf("%d of %d messages came before the end", n, messages)
		}
	}, chatsvc.WithRetention(chatsvc.Retention{Bytes: 200_000}))
}

// A thousand subscribers, each with a connection of its own, lose nothing.
func TestThousandSubscribers(t *testing.T) {
	const (
		subscribers = 1000
		messages    = 600
		interval    = 5 * time.Millisecond
	)
	// Batches are concatenated records, so a subscriber gets the same bytes in total,
	// regardless of the batches.
	var due []byte
	for n := range messages {
		due = append(due, encoded(t, &chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{numbered(n, 20)}})...)
	}
	w := newWire(t, qtClients[1], transports[3])
	var wg sync.WaitGroup
	for i := range subscribers {
		stream := w.dial(t).call(pathList, emptyBatch)
		wg.Go(func() {
			if err := stream.expect(due); err != nil {
				t.Errorf("subscriber %d: %v", i, err)
			}
		})
	}
	ctx, sender := longContext(t), w.as(t, "user1", "qwerty")
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for n := range messages {
		<-ticker.C
		send(ctx, t, sender, numbered(n, 20))
	}
	wg.Wait()
}

// expect reads batches until all of due has come.
func (s *wireStream) expect(due []byte) error {
	if _, err := s.next(); err != nil { // the header
		return err
	}
	for got := 0; got < len(due); {
		msg, err := s.message()
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", got, len(due), err)
		}
		if !bytes.HasPrefix(due[got:], msg.data) {
			return fmt.Errorf("after %d of %d bytes: something else came", got, len(due))
		}
		got += len(msg.data)
	}
	return nil
}
