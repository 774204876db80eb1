//go:build unix

package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Three servers share a cluster, and one after the other is killed.
func serverFails(t *testing.T, says *promise) {
	chance := testkit.NewChance(t)
	c := startCluster(t)
	l := load.New(t, ledger.New())
	c.startClients(l)
	l.AwaitMore(100)
	for _, n := range chance.Perm(clusterSize) {
		t.Logf("server %d is killed after %d acknowledgements", n, l.Count())
		c.servers[n].kill()
		l.AwaitMore(100)
		c.servers[n].start()
		l.AwaitMore(100)
	}
	ledger.Report(t, l.Finish(c.servers[chance.IntN(clusterSize)].front.URL()))
	says.isKept("Its clients resume, on it or on another one, and miss nothing.")
}

// Whichever NATS server of a cluster dies or is cut off, nothing is lost.
func natsServerFails(t *testing.T, says *promise) {
	chance := testkit.NewChance(t)
	c := startCluster(t)
	l := load.New(t, ledger.New())
	c.startClients(l)
	l.AwaitMore(100)

	// The leader first: then the others have led, or will.
	for i, n := range append([]int{c.leader()}, chance.Perm(clusterSize)...) {
		c.awaitCurrent()
		t.Logf("NATS server %d is killed after %d acknowledgements", n, l.Count())
		c.nats[n].kill()
		refusals := 0
		for m, s := range c.servers { // with another code than unavailable the load blames them
			refusals += l.SendUntilTaken(s.front.URL(), fmt.Sprintf("after kill %d, to server %d", i, m))
		}
		if i == 0 && refusals == 0 {
			t.Error("nobody was refused while the stream had no leader")
		}
		l.AwaitMore(100)
		c.nats[n].start()
		l.AwaitMore(100)
	}
	for _, n := range []int{c.leader(), c.busiest()} {
		c.awaitCurrent()
		t.Logf("NATS server %d is cut off after %d acknowledgements", n, l.Count())
		c.cutOff(n, chance.IntN(2) == 0)
		l.AwaitMore(100)
		c.heal(n)
		l.AwaitMore(100)
	}
	ledger.Report(t, l.Finish(c.servers[chance.IntN(clusterSize)].front.URL()))
	says.isKept("Servers that were connected to it answer sends with `unavailable` for up to 3 s; if it led the stream, all do until another one leads, 4 to 9 s, a fixed time of NATS servers.")
}

func mostNATSServersFail(t *testing.T, says *promise) {
	chance := testkit.NewChance(t)
	c := startCluster(t)
	p := c.servers[0].process
	for _, way := range []struct {
		name      string
		fail, end func(n int)
	}{
		{"killed", func(n int) { c.nats[n].kill() }, func(n int) { c.nats[n].start() }},
		{"cut off", func(n int) { c.cutOff(n, true) }, c.heal},
	} {
		sub := chattest.Subscribe(chattest.Context(t, patience), t, atEnd(p))
		two := chance.Perm(clusterSize)[:2]
		t.Logf("NATS servers %v are %s", two, way.name)
		store(t, p, way.name+": before", "")
		for _, n := range two {
			way.fail(n)
		}
		key := way.name + ": key"
		refused := chatconnect.NewSimpleChatClient(&http.Client{Transport: withHeader{chatsvc.HeaderIdempotencyKey, key, testkit.As{User: "user1", Base: testkit.NewTransport(t, true)}}}, p.url(""))
		if _, err := refused.SendMessage(chattest.Context(t, patience), text(way.name+": during")); codeOf(t, err) != connect.CodeUnavailable {
			t.Errorf("%s: a send: %v", way.name, err)
		}
		says.isKept("Sends get `unavailable` within 2 s") // the code: no test asserts a time
		awaitHealth(t, p, notServing)
		says.isKept(`health checks say "not serving"`)
		for _, n := range two {
			way.end(n)
		}
		awaitHealth(t, p, serving)
		store(t, p, way.name+": during", key)
		store(t, p, way.name+": after", "")
		for _, want := range []string{"before", "during", "after"} {
			if got := string(sub.Next().GetContent()); got != way.name+": "+want {
				t.Fatalf("%s: message %q on the stream that was open, %q was due", way.name, got, want)
			}
		}
		says.isKept("streams stay open and silent")
		says.isKept("All recovers by itself, without a gap or a duplicate.")
	}
}

func streamIsReplaced(t *testing.T, says *promise) {
	older := filepath.Join(t.TempDir(), "older")
	for _, way := range []struct {
		name    string
		half    func(*natsServer) // called when half of the messages are stored
		replace func(*natsServer) // called when all are
		left    []string
	}{
		{"removed", func(*natsServer) {}, func(s *natsServer) { removeStream(t, s) }, nil},
		{"goes back", func(s *natsServer) {
			s.kill()
			copyDir(t, older, s.store())
			s.start()
		}, func(s *natsServer) {
			s.kill()
			if err := os.RemoveAll(s.store()); err != nil {
				t.Fatal(err)
			}
			copyDir(t, s.store(), older)
			s.start()
		}, []string{"0", "1", "2"}},
	} {
		alone := startNATS(t, "")
		args := []string{"--nats", alone.url(), "--nats-replicas=1", "--nats-sync-always", "--nats-stream", clusterStream}
		servers := []*process{startServer(t, args...), startServer(t, args...)}
		var subs []*chattest.Subscription
		for _, p := range servers {
			subs = append(subs, chattest.Subscribe(chattest.Context(t, patience), t, p.client("user1")))
		}
		var last ledger.Place
		for n := range 6 {
			if n == 3 {
				way.half(alone)
			}
			last = store(t, servers[0], fmt.Sprint(n), "")
			for _, sub := range subs {
				if got := string(sub.Next().GetContent()); got != fmt.Sprint(n) {
					t.Fatalf("%s: message %q where %d was due", way.name, got, n)
				}
			}
		}
		way.replace(alone)
		for _, sub := range subs {
			sub.EndsWith(connect.CodeUnavailable)
		}
		says.isKept("Streams end with `unavailable`")
		for _, p := range servers {
			begin := resumeAt(t, p, ledger.Place{Epoch: last.Epoch, Offset: last.Offset + 1})
			if begin.Epoch == last.Epoch || begin.Offset != 1 {
				t.Errorf("%s: a client at %v is sent to %v", way.name, last, begin)
			}
			if got := history(t, p); !slices.Equal(got, way.left) {
				t.Errorf("%s: history %q", way.name, got)
			}
		}
		says.isKept("clients that come back see another `Chat-Epoch`, and history from its start.")
	}
}

// removeStream removes the stream as an operator does.
func removeStream(t *testing.T, s *natsServer) {
	t.Helper()
	conn, err := nats.Connect(s.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(chattest.Context(t, patience), clusterStream); err != nil {
		t.Fatal(err)
	}
}
