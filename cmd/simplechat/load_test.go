package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// seedVariable repeats a run of a test that chooses at random: it holds the seed
// that the test has printed.
const seedVariable = "TEST_SEED"

// newChance returns a source of chance, and prints its seed.
func newChance(tb testing.TB) *rand.Rand {
	tb.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedVariable); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			tb.Fatalf("%s: %v", seedVariable, err)
		}
	}
	tb.Logf("%s=%d", seedVariable, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// crowd is a number of senders that is large enough for the log to let them share
// writes to the disk.
const crowd = 24

// crowdFile returns a user database with user1 and so on for a crowd, all with
// the demo users' password.
func crowdFile(tb testing.TB) string {
	tb.Helper()
	var users []string
	for i := range crowd {
		users = append(users, fmt.Sprintf("user%d:qwerty", i+1))
	}
	return testkit.UsersFile(tb, users...)
}

// pause is how long a client waits before it tries again.
const pause = 20 * time.Millisecond

// load is what clients do to one conversation, whatever its servers suffer, and
// the ledger of it. Each sender is another user and sends one message after the
// other.
type load struct {
	*ledger.Ledger

	tb       testing.TB
	options  []chatclient.Option // of all programs that use chatclient
	ctx      context.Context     //nolint:containedctx // done when everybody is to stop: a load ends with its test
	stop     context.CancelFunc
	senders  sync.WaitGroup
	stopped  chan struct{} // closed when senders are to stop
	watchers sync.WaitGroup
}

// newLoad returns a load that ends with the test, and goes on with a ledger.
func newLoad(tb testing.TB, ledger *ledger.Ledger) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{Ledger: ledger, tb: tb, ctx: ctx, stop: cancel, stopped: make(chan struct{})}
	tb.Cleanup(l.end)
	return l
}

// end ends the load at once.
func (l *load) end() {
	l.stop()
	l.senders.Wait()
	l.watchers.Wait()
}

// startSender lets a user send to the server at url. Where the user has keys, a
// message that was not acknowledged is sent again with its key until it is;
// without, it may be stored or not, and the next one follows.
func (l *load) startSender(user, url string, keys bool, size func() int) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: user, Base: testkit.NewTransport(l.tb, true)}}, url)
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m := ledger.NewMessage(user, n, size())
			l.Send(m)
			for again, key := true, fmt.Sprint(n); again && !l.try(client, m, key, keys); again = keys {
				l.wait(pause)
			}
		}
	})
}

// startClient is startSender for a program that uses chatclient.
func (l *load) startClient(user, urls string, size func() int) {
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

// startFollower is startWatcher for a program that uses chatclient.
func (l *load) startFollower(name, urls string) {
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

func (l *load) chatclient(user, urls string) *chatclient.Client {
	l.tb.Helper()
	options := append([]chatclient.Option{chatclient.WithBasicAuth(user, "qwerty"), chatclient.WithBackoff(pause, 10*pause)}, l.options...)
	client, err := chatclient.New(urls, options...)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(client.Close)
	return client
}

// startCrowd starts all kinds of senders: most of them with keys, some without,
// and one that uses chatclient.
func (l *load) startCrowd(url string, size func() int) {
	for i := range crowd - 1 {
		l.startSender(fmt.Sprintf("user%d", i+1), url, i%6 > 0, size)
	}
	l.startClient(fmt.Sprintf("user%d", crowd), url, size)
}

// done reports whether senders are to stop.
func (l *load) done() bool {
	select {
	case <-l.stopped:
		return true
	case <-l.ctx.Done():
		return true
	default:
		return false
	}
}

// wait waits, but not beyond the end of the test.
func (l *load) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// try sends a message once, and reports whether that is the end of it.
func (l *load) try(client chatconnect.SimpleChatClient, m ledger.Message, key string, keyed bool) bool {
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
		p, err := placeOf(call.ResponseHeader())
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

// placeOf returns the place that a response's header names.
func placeOf(h http.Header) (ledger.Place, error) {
	offset, err := strconv.ParseUint(h.Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil || h.Get(chatsvc.HeaderEpoch) == "" {
		return ledger.Place{}, fmt.Errorf("no place in the response's header %v", h)
	}
	return ledger.Place{Epoch: h.Get(chatsvc.HeaderEpoch), Offset: offset}, nil
}

// startWatcher lets someone watch the server at url from the beginning, or from
// where the ledger has it, and come back whenever the stream ends: to what url
// then returns.
func (l *load) startWatcher(name string, url func() string) {
	l.See(name)
	next := l.Next(name)
	transport := testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}
	l.watchers.Go(func() {
		for l.ctx.Err() == nil {
			client := chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, url(), connect.WithGRPC())
			if err := l.watch(client, name, &next); err != nil {
				l.wait(pause)
			}
		}
	})
}

// watch reads one stream to its end from next on, which it moves.
func (l *load) watch(client chatconnect.SimpleChatClient, name string, next *ledger.Place) error {
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
			p, err := placeOf(stream.ResponseHeader())
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

// startProber asks the server at url again and again where the log ends, until the
// senders have stopped.
func (l *load) startProber(url string) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url, connect.WithGRPC())
	l.senders.Go(func() {
		for !l.done() {
			_ = l.probe(client)
			l.wait(pause)
		}
	})
}

// probe asks for the end of the log once.
func (l *load) probe(client chatconnect.SimpleChatClient) error {
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

// awaitMore waits for n more acknowledgements.
func (l *load) awaitMore(n int) {
	l.tb.Helper()
	for want, deadline := l.Count()+n, time.Now().Add(patience); l.Count() < want; l.wait(time.Millisecond) {
		if time.Now().After(deadline) {
			l.tb.Fatalf("%d messages were acknowledged, %d were due", l.Count(), want)
		}
	}
}

// finish lets the senders stop, waits until every watcher has seen what was
// acknowledged last, and returns what is wrong with the history that the server
// at url tells.
func (l *load) finish(url string) []string {
	l.tb.Helper()
	l.stopSenders()
	end := l.sendLast(url)
	read := l.Recorder.Read()
	history := readHistory(l.tb, url, end)
	for _, m := range history {
		read.Return(m.Epoch, m.Offset, m.Record())
	}
	l.awaitWatchers(end)
	l.end()
	return l.Check(history)
}

// stopSenders lets each sender get its message acknowledged, and no more.
func (l *load) stopSenders() {
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

// report makes problems the test's.
func report(tb testing.TB, problems []string) {
	tb.Helper()
	const shown = 20
	for _, problem := range problems[:min(len(problems), shown)] {
		tb.Error(problem)
	}
	if more := len(problems) - shown; more > 0 {
		tb.Errorf("and %d problems more", more)
	}
}

// sendLast sends the last message of all, and returns its place.
func (l *load) sendLast(url string) ledger.Place {
	l.tb.Helper()
	l.sendUntilTaken(url, "the end")
	return l.Last()
}

// sendUntilTaken sends a message that no other is like, and returns how often it
// was refused.
func (l *load) sendUntilTaken(url, content string) (refusals int) {
	l.tb.Helper()
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url)
	m := ledger.Message{From: "user5", Content: content, Kind: chatpb.ChatMessage_Text, Timestamp: 1}
	l.Send(m)
	for deadline := time.Now().Add(patience); !l.try(client, m, content, true); l.wait(pause) {
		if time.Now().After(deadline) {
			l.tb.Fatal("nobody takes a message any more")
		}
		refusals++
	}
	return refusals
}

// awaitWatchers waits until all watchers have seen end, unless something is wrong
// already: then it may never come. Those who have not are found by the checker.
func (l *load) awaitWatchers(end ledger.Place) {
	for deadline := time.Now().Add(patience); len(l.Behind(end)) > 0 && !l.IsBlamed() && time.Now().Before(deadline); {
		l.wait(pause)
	}
}

// readHistory returns everything from the first retained message to end.
func readHistory(tb testing.TB, url string, end ledger.Place) []ledger.Placed {
	tb.Helper()
	ctx := testContext(tb)
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user4", Base: testkit.NewTransport(tb, true)}}, url, connect.WithGRPC())
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var history []ledger.Placed
	for stream.Receive() {
		next, err := placeOf(stream.ResponseHeader())
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
