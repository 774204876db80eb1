package main

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

// honest is a client that sends numbered messages, one after the other, and
// follows the conversation.
type honest struct {
	tb     testing.TB
	sent   int // of the sender alone, until it has stopped
	stop   func()
	seen   atomic.Int64
	opened atomic.Int64 // streams
	failed atomic.Bool
}

// startHonest starts one.
func startHonest(tb testing.TB, url string, config *tls.Config) *honest {
	tb.Helper()
	client, err := chatclient.New(url, chatclient.WithBasicAuth("user1", "qwerty"), chatclient.WithTLS(config), chatclient.WithBackoff(pause, 10*pause))
	if err != nil {
		tb.Fatal(err)
	}
	h := &honest{tb: tb}
	ctx, cancel := context.WithCancel(context.Background())
	stopping := make(chan struct{})
	var sender, follower sync.WaitGroup
	sender.Go(func() { h.send(ctx, client, stopping) })
	follower.Go(func() { h.follow(ctx, client) })
	h.stop = sync.OnceFunc(func() {
		close(stopping)
		sender.Wait()
		h.await(int64(h.sent))
		cancel()
		follower.Wait()
		client.Close()
	})
	tb.Cleanup(func() {
		h.failed.Store(true) // if it has not stopped, the test has failed: do not wait for messages
		cancel()
		h.stop()
	})
	return h
}

// send sends messages until stopping is closed.
func (h *honest) send(ctx context.Context, client *chatclient.Client, stopping <-chan struct{}) {
	for {
		select {
		case <-stopping:
			return
		case <-time.After(time.Millisecond):
		}
		if _, err := client.SendText(ctx, strconv.Itoa(h.sent+1)); err != nil {
			h.blame(ctx, err)
			return
		}
		h.sent++
	}
}

// follow checks that each of its own messages comes once and in order.
func (h *honest) follow(ctx context.Context, client *chatclient.Client) {
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

func (h *honest) blame(ctx context.Context, err error) {
	if ctx.Err() == nil {
		h.tb.Errorf("the honest client: %v", err)
		h.failed.Store(true)
	}
}

// awaitMore waits until n more of its messages have come back.
func (h *honest) awaitMore(n int64) { h.tb.Helper(); h.await(h.seen.Load() + n) }

// await waits until n of its messages have come back.
func (h *honest) await(n int64) {
	h.tb.Helper()
	for deadline := time.Now().Add(patience); h.seen.Load() < n && !h.failed.Load(); <-time.After(pause) {
		if time.Now().After(deadline) {
			h.tb.Errorf("%d messages of %d came back", h.seen.Load(), n)
			return
		}
	}
}
