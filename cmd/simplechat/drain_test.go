//go:build unix

package main

import (
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Three servers share a cluster, and one after the other is restarted in good order
// under load: nobody loses a message or gets one twice.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	for _, s := range c.servers {
		s.args = append(s.args, "--drain-delay=300ms", "--drain-spread=1s")
		s.restart()
	}
	l := load.New(t, ledger.New())
	c.startClients(l)
	l.AwaitMore(100)
	for n, s := range c.servers {
		t.Logf("server %d is restarted after %d acknowledgements", n, l.Count())
		s.restart()
		l.AwaitMore(100)
	}
	ledger.Report(t, l.Finish(c.servers[0].front.URL()))
}

// restart ends a server in good order, and starts it again. Clients reach it until it
// has ended.
func (s *chatServer) restart() {
	s.tb.Helper()
	s.process.stop()
	s.front.Refuse()
	s.start()
}

// While streams end one after the other, sends are accepted and new streams are not.
func TestDrain(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServer(t, "--drain-spread=2s", "--ops-listen=127.0.0.1:0")
	var readers []*chattest.Subscription
	for range 8 {
		for _, opts := range protocols {
			readers = append(readers, chattest.Subscribe(ctx, t, p.client("user1", opts...)))
		}
	}
	sender := p.client("user2")
	send(ctx, t, sender, text("before"))
	p.signal(syscall.SIGTERM)
	ended := make(chan int, len(readers))
	for i, r := range readers {
		go func() {
			if got := string(r.Next().GetContent()); got != "before" {
				t.Errorf("%q before the end", got)
			}
			r.EndsWith(connect.CodeUnavailable)
			ended <- i
		}()
	}
	first := <-ended
	if _, err := sender.SendMessage(ctx, text("during")); err != nil {
		t.Errorf("a send after stream %d had ended: %v", first, err)
	}
	stream, err := p.client("user3").MessageList(ctx, &chatpb.None{})
	if err == nil {
		for stream.Receive() {
		}
		err = stream.Err()
	}
	if codeOf(t, err) != connect.CodeUnavailable {
		t.Errorf("a new stream: %v", err)
	}
	if open := len(readers) - 1 - len(ended); open == 0 {
		t.Error("all streams ended at once")
	}
	for range len(readers) - 1 {
		<-ended
	}
	if code := p.wait(stopLimit); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
