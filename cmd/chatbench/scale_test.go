//go:build !race

// The server is a process of its own, without the race detector anyway, and
// the load generator would be too slow with it.

package main

import (
	"context"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// Ten thousand subscribers, on connections of their own or over a hundred, get
// the whole history and every new message. Each case begins when the subscribers
// of the one before have just gone, so all of them reconnect at once.
func TestTenThousandSubscribers(t *testing.T) {
	const subscribers = 10_000
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	t.Cleanup(cancel)
	simplechat, err := buildServer(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	child, err := systems[ours].start(ctx, simplechat, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(child.stop)
	code, filled, stderr := runLoad(t, child.addr, "-s", "0", "-r", "1000", "-d", "500ms")
	checkWhole(t, code, filled, stderr, 0)
	stored := filled.Sends
	for _, c := range []struct{ name, connections string }{
		{"own connections", "10000"},
		{"100 connections", "100"},
		{"own connections again", "10000"},
	} {
		start := time.Now()
		code, r, stderr := runLoad(t, child.addr,
			"-s", "10000", "-c", c.connections, "--history", wire.HistoryAll, "-r", "25", "-d", "800ms", "--warmup", "200ms")
		checkWhole(t, code, r, stderr, subscribers)
		if r.Foreign != subscribers*stored {
			t.Errorf("%s: %d messages of history, %d are stored, for %d subscribers", c.name, r.Foreign, stored, subscribers)
		}
		stored += r.Sends
		t.Logf("%s: subscribed and read %d messages of history in %v, all in %v", c.name, r.Foreign, r.SubscribeTime, time.Since(start))
	}
}
