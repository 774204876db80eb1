package logtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Resume tests what clients are promised about offsets, epochs and
// idempotency keys, over HTTP, with replicas and restarts of the service. Each
// call of newLog returns the opener of another, empty log that retains at least
// what r says.
func Resume(t *testing.T, newLog func(tb testing.TB, r chatsvc.Retention) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *conversation){
		"every record once":     testEveryRecordOnce,
		"answers":               testAnswers,
		"a key again":           testKeyAgain,
		"a key of what is gone": testKeyOfGone,
		"one key from everyone": testKeyRace,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			retention := chatsvc.DefaultRetention()
			if name == "answers" || name == "a key of what is gone" {
				retention.Messages = 5
			}
			c := &conversation{retention: retention, open: newLog(t, retention)}
			t.Cleanup(c.stop)
			c.start(t)
			test(t, c)
		})
	}
}

// conversation is two replicas that share a log.
type conversation struct {
	retention chatsvc.Retention
	open      Opener
	replicas  []replica
}

type replica struct {
	client chatconnect.SimpleChatClient
	stop   func()
}

// start starts the replicas.
func (c *conversation) start(tb testing.TB) {
	tb.Helper()
	for range 2 {
		log, closeLog := c.open(tb)
		svc, err := chatsvc.New(chatsvc.WithLog(log), chatsvc.WithRetention(c.retention))
		if err != nil {
			closeLog()
			tb.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		srv := httptest.NewUnstartedServer(mux)
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		transport := &http.Transport{Protocols: srv.Config.Protocols}
		c.replicas = append(c.replicas, replica{
			client: chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, srv.URL, connect.WithGRPC()),
			stop: func() {
				_ = svc.Shutdown(context.Background())
				transport.CloseIdleConnections()
				srv.Close()
				closeLog()
			},
		})
	}
}

// stop ends the replicas.
func (c *conversation) stop() {
	for _, r := range c.replicas {
		r.stop()
	}
	c.replicas = nil
}

// restart ends the replicas, and starts them over the same log.
func (c *conversation) restart(tb testing.TB) {
	tb.Helper()
	c.stop()
	c.start(tb)
}

// newCall returns a context for a call as user1 with further header fields.
func newCall(tb testing.TB, header ...string) (context.Context, connect.CallInfo) {
	tb.Helper()
	ctx, call := connect.NewClientContext(tb.Context())
	call.RequestHeader().Set(chatsvc.HeaderUserName, "user1")
	call.RequestHeader().Set(chatsvc.HeaderUserPassword, "qwerty")
	for i := 0; i < len(header); i += 2 {
		call.RequestHeader().Set(header[i], header[i+1])
	}
	return ctx, call
}

// sent is a server's answer to a send.
type sent struct {
	offset    uint64
	duplicate bool
}

// send sends a text, with a key unless that is empty.
func (r replica) send(tb testing.TB, content, key string) sent {
	tb.Helper()
	ctx, call := newCall(tb)
	if key != "" {
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
	}
	_, err := r.client.SendMessage(ctx, &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text})
	switch {
	case tb.Context().Err() != nil: // the test has ended, and said why
		return sent{}
	case err != nil:
		tb.Errorf("send: %v", err)
		return sent{}
	}
	offset, err := strconv.ParseUint(call.ResponseHeader().Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil {
		tb.Errorf("send: its answer's offset: %v", err)
	}
	return sent{offset, call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true"}
}

// subscription is a stream, and where its server says that it is.
type subscription struct {
	tb      testing.TB
	stream  *connect.ServerStreamForClient[chatpb.ChatMessages]
	cancel  context.CancelFunc
	epoch   string
	next    uint64 // offset of the record that comes next
	pending []*chatpb.ChatMessage
}

// subscribe opens a stream. The caller calls leave in the end.
func (r replica) subscribe(tb testing.TB, header ...string) *subscription {
	tb.Helper()
	ctx, _ := newCall(tb, header...)
	ctx, cancel := context.WithCancel(ctx)
	stream, err := r.client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	s := &subscription{tb: tb, stream: stream, cancel: cancel, epoch: stream.ResponseHeader().Get(chatsvc.HeaderEpoch)}
	if s.next, err = strconv.ParseUint(stream.ResponseHeader().Get(chatsvc.HeaderOffset), 10, 64); err != nil {
		s.leave()
		tb.Fatalf("messageList: its answer's offset: %v, %v", err, stream.Err())
	}
	return s
}

// resume opens a stream where the subscription s was.
func (r replica) resume(s *subscription) *subscription {
	s.tb.Helper()
	return r.subscribe(s.tb, chatsvc.HeaderOffset, strconv.FormatUint(s.next, 10), chatsvc.HeaderEpoch, s.epoch)
}

// record returns the next record's content.
func (s *subscription) record() string {
	s.tb.Helper()
	for len(s.pending) == 0 {
		if !s.stream.Receive() {
			s.tb.Fatalf("the stream ended before record %d: %v", s.next, s.stream.Err())
		}
		s.pending = s.stream.Msg().GetMessages()
	}
	content := string(s.pending[0].GetContent())
	s.pending = s.pending[1:]
	s.next++
	return content
}

// leave ends the stream, with what has come but was not looked at.
func (s *subscription) leave() {
	s.cancel()
	_ = s.stream.Close()
}

// A subscriber that comes back with its epoch and next offset, to whichever
// replica, gets every record once.
func testEveryRecordOnce(t *testing.T, c *conversation) {
	const senders, each = 3, 100
	random := rand.New(rand.NewPCG(4, 3))
	at := c.replicas[0].subscribe(t)
	at.leave()
	for round := 1; round <= 2; round++ {
		var stored sync.Map // offset to content
		var sending sync.WaitGroup
		for s := range senders {
			sending.Go(func() {
				for i := range each {
					content := fmt.Sprint(round, " ", s, " ", i)
					stored.Store(c.replicas[(s+i)%2].send(t, content, "").offset, content)
				}
			})
		}
		seen := make(map[uint64]string)
		last := uint64(round * senders * each)
		for at.next <= last {
			sub := c.replicas[random.IntN(2)].resume(at)
			if sub.epoch != at.epoch || sub.next != at.next {
				t.Fatalf("round %d: asked for record %d of %s, answered %d of %s", round, at.next, at.epoch, sub.next, sub.epoch)
			}
			for n := 1 + random.IntN(30); n > 0 && sub.next <= last; n-- {
				offset := sub.next
				seen[offset] = sub.record()
			}
			sub.leave()
			at = sub
		}
		sending.Wait()
		for offset, content := range seen {
			if want, _ := stored.Load(offset); want != content {
				t.Errorf("record %d is %q, the sender was told so of %v", offset, content, want)
			}
		}
		c.restart(t)
	}
}

// Of ten messages the last five are retained. A subscriber sees by the answer
// what is gone: also on a replica that was started later.
func testAnswers(t *testing.T, c *conversation) {
	const first, next = 6, 11
	early := c.replicas[0].subscribe(t)
	for n := 1; n < next; n++ {
		c.replicas[n%2].send(t, fmt.Sprint(n), "")
	}
	for n := 1; n <= 3; n++ {
		if got := early.record(); got != fmt.Sprint(n) {
			t.Errorf("record %d is %q", n, got)
		}
	}
	early.leave()
	tests := []struct {
		name, offset, epoch string
		first               uint64
	}{
		{"two are gone", "4", early.epoch, first},
		{"the last one that is there", "10", early.epoch, 10},
		{"the next one", "11", early.epoch, next},
		{"one that nobody has stored", "12", early.epoch, first},
		{"another epoch", "10", "ANOTHER", first},
		{"the last two", "-2", early.epoch, 9},
		{"more than there are", "-99", early.epoch, first},
		{"only new ones", "end", early.epoch, next},
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			c.restart(t)
		}
		for i, r := range c.replicas {
			for _, test := range tests {
				sub := r.subscribe(t, chatsvc.HeaderOffset, test.offset, chatsvc.HeaderEpoch, test.epoch)
				if sub.next != test.first || sub.epoch != early.epoch {
					t.Errorf("%s, replica %d, restarted %v: answered %d of %s, %d of %s was due", test.name, i, restarted, sub.next, sub.epoch, test.first, early.epoch)
				}
				for n := sub.next; n < next; n++ {
					if got := sub.record(); got != fmt.Sprint(n) {
						t.Errorf("%s, replica %d, restarted %v: record %d is %q", test.name, i, restarted, n, got)
					}
				}
				sub.leave()
			}
		}
	}
}

// A send that is repeated answers the first one's offset: at once, through
// another replica, and after a restart.
func testKeyAgain(t *testing.T, c *conversation) {
	c.replicas[0].send(t, "something else", "")
	first := c.replicas[0].send(t, "once", "key")
	if first.duplicate || first.offset != 2 {
		t.Fatalf("the first send: %+v", first)
	}
	again := func(when string, r replica) {
		t.Helper()
		if got, want := r.send(t, "once", "key"), (sent{first.offset, true}); got != want {
			t.Errorf("%s: %+v, %+v was due", when, got, want)
		}
	}
	again("at once", c.replicas[0])
	again("through another replica", c.replicas[1])
	c.replicas[1].send(t, "in between", "")
	again("behind another message", c.replicas[0])
	c.restart(t)
	again("after a restart", c.replicas[0])
	again("after a restart, through another replica", c.replicas[1])
	if got := c.replicas[0].send(t, "the end", "another key"); got.duplicate {
		t.Errorf("another key: %+v", got)
	}
	sub := c.replicas[1].subscribe(t)
	defer sub.leave()
	for _, want := range []string{"something else", "once", "in between", "the end"} {
		if got := sub.record(); got != want {
			t.Errorf("%q is stored where %q was due", got, want)
		}
	}
}

// A key is known for as long as the window, also if its message is retained no
// longer.
func testKeyOfGone(t *testing.T, c *conversation) {
	first := c.replicas[0].send(t, "gone", "key")
	for n := range 10 {
		c.replicas[1].send(t, fmt.Sprint(n), "")
	}
	c.replicas[0].send(t, "the last", "") // who subscribes to it now has read all before
	sub := c.replicas[0].subscribe(t)
	sub.leave()
	if sub.next <= first.offset {
		t.Fatalf("record %d is still there", first.offset)
	}
	for _, when := range []string{"at once", "after a restart"} {
		for i, r := range c.replicas {
			if got, want := r.send(t, "gone", "key"), (sent{first.offset, true}); got != want {
				t.Errorf("%s, replica %d: %+v, %+v was due", when, i, got, want)
			}
		}
		c.restart(t)
	}
}

// Of sends with one key that race, through both replicas, one is stored.
func testKeyRace(t *testing.T, c *conversation) {
	const rounds, racers = 20, 8
	for round := range uint64(rounds) {
		var answers [racers]sent
		var racing sync.WaitGroup
		for i := range answers {
			racing.Go(func() { answers[i] = c.replicas[i%2].send(t, fmt.Sprint(round), fmt.Sprint("key ", round)) })
		}
		racing.Wait()
		stored := 0
		for _, got := range answers {
			if got.offset != round+1 {
				t.Errorf("round %d: offset %d", round, got.offset)
			}
			if !got.duplicate {
				stored++
			}
		}
		if stored != 1 {
			t.Errorf("round %d: %d sends are no duplicates", round, stored)
		}
	}
	sub := c.replicas[1].subscribe(t)
	defer sub.leave()
	for round := range rounds {
		if got := sub.record(); got != fmt.Sprint(round) {
			t.Errorf("%q is stored where %d was due", got, round)
		}
	}
}
