package chatsvc_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"connectrpc.com/connect"
)

// Streams end at equal distances; what was sent before a stream ends is delivered.
func TestDrainSpreadsEnds(t *testing.T) {
	t.Parallel()
	const streams = 10
	forEachFace(t, func(t *testing.T, f face) {
		ctx := testContext(t)
		var subs []*subscription
		for range streams {
			subs = append(subs, subscribe(ctx, t, f.as(t, "user1", "qwerty")))
		}
		if n := f.service.Stats().Subscribers; n != streams {
			t.Errorf("%d subscribers", n)
		}
		send(ctx, t, f.as(t, "user2", "qwerty"), text("last"))
		done := make(chan error, 1)
		go func() { done <- f.service.Drain(ctx, 100*time.Millisecond) }()
		for _, s := range subs {
			if got := s.next(); string(got.GetContent()) != "last" {
				t.Errorf("got %v", got)
			}
			for s.stream.Receive() {
			}
			if err := s.stream.Err(); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("ended with %v", err)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A drain that is given up leaves the rest of the streams as they are.
func TestDrainEndsWithContext(t *testing.T) {
	t.Parallel()
	f := face{service: newService(t), protocol: wireProtocols[0]}
	_, handler := f.service.Handler()
	f.server = newServer(t, handler, transports[0])
	ctx := testContext(t)
	for range 2 {
		subscribe(ctx, t, f.as(t, "user1", "qwerty"))
	}
	ending, end := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- f.service.Drain(ending, 1000*time.Hour) }()
	for f.service.Stats().Subscribers != 1 { // one ends at once
		if ctx.Err() != nil {
			t.Fatal("no stream has ended")
		}
	}
	end()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	if n := f.service.Stats().Subscribers; n != 1 {
		t.Errorf("%d subscribers are left", n)
	}
}
