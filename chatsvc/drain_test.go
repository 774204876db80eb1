package chatsvc_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
)

// Streams end at equal distances; messages that were sent before the end of a stream are
// delivered.
func TestDrainSpreadsEnds(t *testing.T) {
	t.Parallel()
	const streams = 10
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		var subs []*chattest.Subscription
		for range streams {
			subs = append(subs, chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty")))
		}
		if n := f.service.Stats().Subscribers; n != streams {
			t.Errorf("%d subscribers", n)
		}
		send(ctx, t, f.as(t, "user2", "qwerty"), text("last"))
		done := make(chan error, 1)
		go func() { done <- f.service.Drain(ctx, 100*time.Millisecond) }()
		for _, s := range subs {
			if got := s.Next(); string(got.GetContent()) != "last" {
				t.Errorf("got %v", got)
			}
			for s.Stream.Receive() {
			}
			if err := s.Stream.Err(); connect.CodeOf(err) != connect.CodeUnavailable {
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
	ctx := chattest.Context(t, patience)
	for range 2 {
		chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty"))
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

// A drain refuses subscribers, and takes messages.
func TestDrainTakesSends(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		ctx := chattest.Context(t, patience)
		svc := newService(t)
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		f := face{service: svc, server: newServer(t, mux, transport), protocol: wireProtocols[0]}
		before := sendMany(ctx, t, f.server, header())
		if err := svc.Drain(ctx, 0); err != nil {
			t.Fatal(err)
		}
		send(ctx, t, f.as(t, "user1", "qwerty"), text("one"))
		before.write(jsonLine("two", ""))
		if got := before.next(); got != `{"offset":"2"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
		after := sendMany(ctx, t, f.server, header())
		if after.res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", transport.name, after.res.Status)
		}
		after.write(jsonLine("three", ""))
		if got := after.next(); got != `{"offset":"3"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
		list := rawCall{path: "messageList", contentType: "application/json", body: "{}"}
		if status, code, body := list.do(t, f.server.newClient(t), f.server.url); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d, %q: %s", transport.name, status, code, body)
		}
	}
}
