package flood

import (
	"context"
	"crypto/tls"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chatclient"
)

// Honest is a client that sends numbered messages, one after the other, and
// follows the conversation.
type Honest struct {
	// Sent is how many messages it has sent. It may be read when Stop has returned.
	Sent int
	// Stop ends it: it sends no more, and waits until all that it sent have come back.
	Stop func()

	tb     testing.TB
	seen   atomic.Int64
	opened atomic.Int64 // streams
	failed atomic.Bool
}

// StartHonest starts an honest client of the server at url. It ends with the test.
func StartHonest(tb testing.TB, url string, config *tls.Config) *Honest {
	tb.Helper()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"), chatclient.WithTLS(config), chatclient.WithBackoff(pause, 10*pause))
	if err != nil {
		tb.Fatal(err)
	}
	h := &Honest{tb: tb}
	ctx, cancel := context.WithCancel(context.Background())
	stopping := make(chan struct{})
	var sender, follower sync.WaitGroup
	sender.Go(func() { h.send(ctx, client, stopping) })
	follower.Go(func() { h.follow(ctx, client) })
	h.Stop = sync.OnceFunc(func() {
		close(stopping)
		sender.Wait()
		h.await(int64(h.Sent))
		cancel()
		follower.Wait()
		client.Close()
	})
	tb.Cleanup(func() {
		h.failed.Store(true) // if it has not stopped, the test has failed: do not wait for messages
		cancel()
		h.Stop()
	})
	return h
}

// Streams returns how many streams it has opened.
func (h *Honest) Streams() int64 { return h.opened.Load() }

// send sends messages until stopping is closed.
func (h *Honest) send(ctx context.Context, client *chatclient.Client, stopping <-chan struct{}) {
	for {
		select {
		case <-stopping:
			return
		case <-time.After(time.Millisecond):
		}
		if _, err := client.SendText(ctx, strconv.Itoa(h.Sent+1)); err != nil {
			h.blame(ctx, err)
			return
		}
		h.Sent++
	}
}

// follow checks that each of its own messages comes once and in order.
func (h *Honest) follow(ctx context.Context, client *chatclient.Client) {
	err := client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
		if e.Lost > 0 || e.NewEpoch {
			return fmt.Errorf("%d records lost, new epoch %v, at %d", e.Lost, e.NewEpoch, e.Offset)
		}
		if e.Message == nil {
			h.opened.Add(1)
		}
		if e.Message.GetFrom() != "user1" {
			return nil
		}
		if want := h.seen.Load() + 1; string(e.Message.GetContent()) != strconv.FormatInt(want, 10) {
			return fmt.Errorf("message %.20q came, %d was due", e.Message.GetContent(), want)
		}
		h.seen.Add(1)
		return nil
	})
	h.blame(ctx, err)
}

func (h *Honest) blame(ctx context.Context, err error) {
	if ctx.Err() == nil {
		h.tb.Errorf("the honest client: %v", err)
		h.failed.Store(true)
	}
}

// AwaitMore waits until n more of its messages have come back.
func (h *Honest) AwaitMore(n int64) { h.tb.Helper(); h.await(h.seen.Load() + n) }

// await waits until n of its messages have come back.
func (h *Honest) await(n int64) {
	h.tb.Helper()
	for deadline := time.Now().Add(patience); h.seen.Load() < n && !h.failed.Load(); <-time.After(pause) {
		if time.Now().After(deadline) {
			h.tb.Errorf("%d messages of %d came back", h.seen.Load(), n)
			return
		}
	}
}
