package load

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// crowd is a number of senders that is large enough for the log to let them share
// writes to the disk.
const crowd = 24

// UsersFile returns a user database with user1 and so on for a crowd, all with
// the demo users' password.
func UsersFile(tb testing.TB) string {
	tb.Helper()
	var users []string
	for i := range crowd {
		users = append(users, fmt.Sprintf("user%d:qwerty", i+1))
	}
	return testkit.UsersFile(tb, users...)
}

// patience is how long a load waits for what must happen.
const patience = 60 * time.Second

// pause is how long a client waits before it tries again.
const pause = 20 * time.Millisecond

// Load is what clients do to one conversation, whatever its servers suffer, and
// the ledger of it. Each sender is another user and sends one message after the
// other.
type Load struct {
	*ledger.Ledger

	tb       testing.TB
	Options  []chatclient.Option // of all programs that use chatclient
	ctx      context.Context     //nolint:containedctx // done when everybody is to stop: a load ends with its test
	stop     context.CancelFunc
	senders  sync.WaitGroup
	stopped  chan struct{} // closed when senders are to stop
	watchers sync.WaitGroup
}

// New returns a load that ends with the test, and goes on with a ledger.
func New(tb testing.TB, ledger *ledger.Ledger) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{Ledger: ledger, tb: tb, ctx: ctx, stop: cancel, stopped: make(chan struct{})}
	tb.Cleanup(l.End)
	return l
}

// End ends the load at once.
func (l *Load) End() {
	l.stop()
	l.senders.Wait()
	l.watchers.Wait()
}

// StartSender lets a user send to the server at url. Where the user has keys, a
// message that was not acknowledged is sent again with its key until it is;
// without, it may be stored or not, and the next one follows.
func (l *Load) StartSender(user, url string, keys bool, size func() int) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: user, Base: testkit.NewTransport(l.tb, true)}}, url)
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m := ledger.NewMessage(user, n, size())
			l.Send(m)
			for again, key := true, fmt.Sprint(n); again && !l.try(client, m, key, keys); again = keys {
				l.Wait(pause)
			}
		}
	})
}

// StartClient is startSender for a program that uses chatclient.
func (l *Load) StartClient(user, urls string, size func() int) {
	client := l.chatclient(user, urls)
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m := ledger.NewMessage(user, n, size())
			l.Send(m)
			attempts := l.Recorder.Append(m.Record(), m.Record())
			sent, err := client.Send(l.ctx, m.Proto(), "")
			switch {
			case l.ctx.Err() != nil:
			case err != nil:
				l.Blamef("%s sent %v: %v", user, m, err)
			default:
				attempts.Return(sent.Epoch, sent.Offset, sent.Duplicate)
				l.Acknowledge(m, ledger.Place{Epoch: sent.Epoch, Offset: sent.Offset})
			}
		}
	})
}

// StartFollower is startWatcher for a program that uses chatclient.
func (l *Load) StartFollower(name, urls string) {
	l.See(name)
	client := l.chatclient("user5", urls)
	read := l.Recorder.Read()
	l.watchers.Go(func() {
		err := client.Follow(l.ctx, chatclient.All(), func(e chatclient.Event) error {
			if e.Lost > 0 || e.NewEpoch {
				l.Blamef("follower %s: %d records lost, new epoch %v, at %s %d", name, e.Lost, e.NewEpoch, e.Epoch, e.Offset)
			}
			if e.Message != nil {
				read.Return(e.Epoch, e.Offset, ledger.MessageOf(e.Message).Record())
				l.See(name, ledger.Placed{Place: ledger.Place{Epoch: e.Epoch, Offset: e.Offset}, Message: ledger.MessageOf(e.Message)})
			}
			return nil
		})
		if l.ctx.Err() == nil {
			l.Blamef("follower %s ended: %v", name, err)
		}
	})
}

func (l *Load) chatclient(user, urls string) *chatclient.Client {
	l.tb.Helper()
	options := append([]chatclient.Option{chatclient.WithBasicAuth(user, "qwerty"), chatclient.WithBackoff(pause, 10*pause)}, l.Options...)
	client, err := chatclient.New(urls, options...)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(client.Close)
	return client
}

// StartCrowd starts all kinds of senders: most of them with keys, some without,
// and one that uses chatclient.
func (l *Load) StartCrowd(url string, size func() int) {
	for i := range crowd - 1 {
		l.StartSender(fmt.Sprintf("user%d", i+1), url, i%6 > 0, size)
	}
	l.StartClient(fmt.Sprintf("user%d", crowd), url, size)
}

// done reports whether senders are to stop.
func (l *Load) done() bool {
	select {
	case <-l.stopped:
		return true
	case <-l.ctx.Done():
		return true
	default:
		return false
	}
}

// Wait waits, but not beyond the end of the test.
func (l *Load) Wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// try sends a message once, and reports whether that is the end of it.
func (l *Load) try(client chatconnect.SimpleChatClient, m ledger.Message, key string, keyed bool) bool {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	recorded := ""
	if keyed {
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
		recorded = m.From + " " + key
	}
	attempt := l.Recorder.Append(m.Record(), recorded)
	_, err := client.SendMessage(ctx, m.Proto())
	switch {
	case l.ctx.Err() != nil:
		return true
	case err == nil:
		p, err := PlaceOf(call.ResponseHeader())
		if err != nil {
			l.Blamef("%s sent %v: %v", m.From, m, err)
		}
		attempt.Return(p.Epoch, p.Offset, call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true")
		l.Acknowledge(m, p)
		return true
	case connect.IsWireError(err) && connect.CodeOf(err) != connect.CodeUnavailable:
		l.Blamef("%s sent %v: %v", m.From, m, err) // what the server says of itself must be that it is worth to try again
	}
	return false
}

// PlaceOf returns the place that a response's header names.
func PlaceOf(h http.Header) (ledger.Place, error) {
	offset, err := strconv.ParseUint(h.Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil || h.Get(chatsvc.HeaderEpoch) == "" {
		return ledger.Place{}, fmt.Errorf("no place in the response's header %v", h)
	}
	return ledger.Place{Epoch: h.Get(chatsvc.HeaderEpoch), Offset: offset}, nil
}

// StartWatcher lets someone watch the server at url from the beginning, or from
// where the ledger has it, and come back whenever the stream ends: to what url
// then returns.
func (l *Load) StartWatcher(name string, url func() string) {
	l.See(name)
	next := l.Next(name)
	transport := testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}
	l.watchers.Go(func() {
		for l.ctx.Err() == nil {
			client := chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, url(), connect.WithGRPC())
			if err := l.watch(client, name, &next); err != nil {
				l.Wait(pause)
			}
		}
	})
}

// watch reads one stream to its end from next on, which it moves.
func (l *Load) watch(client chatconnect.SimpleChatClient, name string, next *ledger.Place) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, strconv.FormatUint(next.Offset, 10))
	if next.Epoch != "" {
		call.RequestHeader().Set(chatsvc.HeaderEpoch, next.Epoch)
	}
	read := l.Recorder.Read()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for first := true; stream.Receive(); first = false {
		if first {
			p, err := PlaceOf(stream.ResponseHeader())
			if err != nil {
				l.Blamef("watcher %s: %v", name, err)
			}
			if p.Offset != next.Offset || next.Epoch != "" && p.Epoch != next.Epoch {
				l.Blamef("watcher %s asked for %v, and was sent to %v", name, *next, p)
			}
			*next = p
		}
		for _, m := range stream.Msg().GetMessages() {
			read.Return(next.Epoch, next.Offset, ledger.MessageOf(m).Record())
			l.See(name, ledger.Placed{Place: *next, Message: ledger.MessageOf(m)})
			next.Offset++
		}
	}
	return stream.Err()
}

// StartProber asks the server at url again and again where the log ends, until the
// senders have stopped.
func (l *Load) StartProber(url string) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url, connect.WithGRPC())
	l.senders.Go(func() {
		for !l.done() {
			_ = l.probe(client)
			l.Wait(pause)
		}
	})
}

// probe asks for the end of the log once.
func (l *Load) probe(client chatconnect.SimpleChatClient) error {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, "end")
	call.RequestHeader().Set(chatsvc.HeaderUntil, "end")
	read := l.Recorder.Read()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() {
		return stream.Err()
	}
	end, err := strconv.ParseUint(stream.ResponseHeader().Get(chatsvc.HeaderUntil), 10, 64)
	if err != nil {
		l.Blamef("the end of the log: %v in %v", err, stream.ResponseHeader())
		return err
	}
	read.End(stream.ResponseHeader().Get(chatsvc.HeaderEpoch), end)
	return nil
}

// AwaitMore waits for n more acknowledgements.
func (l *Load) AwaitMore(n int) {
	l.tb.Helper()
	for want, deadline := l.Count()+n, time.Now().Add(patience); l.Count() < want; l.Wait(time.Millisecond) {
		if time.Now().After(deadline) {
			l.tb.Fatalf("%d messages were acknowledged, %d were due", l.Count(), want)
		}
	}
}

// Finish lets the senders stop, waits until every watcher has seen what was
// acknowledged last, and returns what is wrong with the history that the server
// at url tells.
func (l *Load) Finish(url string) []string {
	l.tb.Helper()
	l.StopSenders()
	end := l.SendLast(url)
	read := l.Recorder.Read()
	history := ReadHistory(l.tb, url, end)
	for _, m := range history {
		read.Return(m.Epoch, m.Offset, m.Record())
	}
	l.awaitWatchers(end)
	l.End()
	return l.Check(history)
}

// StopSenders lets each sender get its message acknowledged, and no more.
func (l *Load) StopSenders() {
	l.tb.Helper()
	close(l.stopped)
	ended := make(chan struct{})
	go func() {
		l.senders.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		l.tb.Fatal("there are messages that nobody takes")
	}
}

// SendLast sends the last message of all, and returns its place.
func (l *Load) SendLast(url string) ledger.Place {
	l.tb.Helper()
	l.SendUntilTaken(url, "the end")
	return l.Last()
}

// SendUntilTaken sends a message that no other is like, and returns how often it
// was refused.
func (l *Load) SendUntilTaken(url, content string) (refusals int) {
	l.tb.Helper()
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url)
	m := ledger.Message{From: "user5", Content: content, Kind: chatpb.ChatMessage_Text, Timestamp: 1}
	l.Send(m)
	for deadline := time.Now().Add(patience); !l.try(client, m, content, true); l.Wait(pause) {
		if time.Now().After(deadline) {
			l.tb.Fatal("nobody takes a message any more")
		}
		refusals++
	}
	return refusals
}

// awaitWatchers waits until all watchers have seen end, unless something is wrong
// already: then it may never come. Those who have not are found by the checker.
func (l *Load) awaitWatchers(end ledger.Place) {
	for deadline := time.Now().Add(patience); len(l.Behind(end)) > 0 && !l.IsBlamed() && time.Now().Before(deadline); {
		l.Wait(pause)
	}
}

// ReadHistory returns everything from the first retained message to end.
func ReadHistory(tb testing.TB, url string, end ledger.Place) []ledger.Placed {
	tb.Helper()
	ctx := chattest.Context(tb, patience)
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user4", Base: testkit.NewTransport(tb, true)}}, url, connect.WithGRPC())
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var history []ledger.Placed
	for stream.Receive() {
		next, err := PlaceOf(stream.ResponseHeader())
		if err != nil {
			tb.Fatal(err)
		}
		next.Offset += uint64(len(history))
		for _, m := range stream.Msg().GetMessages() {
			history = append(history, ledger.Placed{Place: next, Message: ledger.MessageOf(m)})
			next.Offset++
		}
		if next.Offset > end.Offset {
			return history
		}
	}
	tb.Fatalf("the history ended before %v: %v", end, stream.Err())
	return nil
}
