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
	return usersFile(tb, users...)
}

// pause is how long a client waits before it tries again.
const pause = 20 * time.Millisecond

// load is the clients of one conversation and their ledger. They keep trying through all
// failures of the servers. Each sender is another user and sends one message after the
// other.
type load struct {
	*ledger

	tb       testing.TB
	options  []chatclient.Option // of all programs that use chatclient
	ctx      context.Context     //nolint:containedctx // done when everybody is to stop: a load ends with its test
	stop     context.CancelFunc
	senders  sync.WaitGroup
	stopped  chan struct{} // closed when senders are to stop
	watchers sync.WaitGroup
}

// newLoad returns a load that ends with the test, and continues a ledger.
func newLoad(tb testing.TB, ledger *ledger) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{ledger: ledger, tb: tb, ctx: ctx, stop: cancel, stopped: make(chan struct{})}
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
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: as{user, newTransport(l.tb, true)}}, url)
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m := newSaid(user, n, size())
			l.send(m)
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
			m := newSaid(user, n, size())
			l.send(m)
			attempts := l.recorder.Append(m.record(), m.record())
			sent, err := client.Send(l.ctx, m.message(), "")
			switch {
			case l.ctx.Err() != nil:
			case err != nil:
				l.blamef("%s sent %v: %v", user, m, err)
			default:
				attempts.Return(sent.Epoch, sent.Offset, sent.Duplicate)
				l.acknowledge(m, place{sent.Epoch, sent.Offset})
			}
		}
	})
}

// startFollower is startWatcher for a program that uses chatclient.
func (l *load) startFollower(name, urls string) {
	l.see(name)
	client := l.chatclient("user5", urls)
	read := l.recorder.Read()
	l.watchers.Go(func() {
		err := client.Follow(l.ctx, chatclient.All(), func(e chatclient.Event) error {
			if e.Lost > 0 || e.NewEpoch {
				l.blamef("follower %s: %d records lost, new epoch %v, at %s %d", name, e.Lost, e.NewEpoch, e.Epoch, e.Offset)
			}
			if e.Message != nil {
				read.Return(e.Epoch, e.Offset, saidOf(e.Message).record())
				l.see(name, placed{place{e.Epoch, e.Offset}, saidOf(e.Message)})
			}
			return nil
		})
		if l.ctx.Err() == nil {
			l.blamef("follower %s ended: %v", name, err)
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
func (l *load) try(client chatconnect.SimpleChatClient, m said, key string, keyed bool) bool {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	recorded := ""
	if keyed {
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
		recorded = m.from + " " + key
	}
	attempt := l.recorder.Append(m.record(), recorded)
	_, err := client.SendMessage(ctx, m.message())
	switch {
	case l.ctx.Err() != nil:
		return true
	case err == nil:
		p, err := placeOf(call.ResponseHeader())
		if err != nil {
			l.blamef("%s sent %v: %v", m.from, m, err)
		}
		attempt.Return(p.epoch, p.offset, call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true")
		l.acknowledge(m, p)
		return true
	case connect.IsWireError(err) && connect.CodeOf(err) != connect.CodeUnavailable:
		l.blamef("%s sent %v: %v", m.from, m, err) // errors of the server itself must allow another attempt
	}
	return false
}

// placeOf returns the place that a response's header names.
func placeOf(h http.Header) (place, error) {
	offset, err := strconv.ParseUint(h.Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil || h.Get(chatsvc.HeaderEpoch) == "" {
		return place{}, fmt.Errorf("no place in the response's header %v", h)
	}
	return place{h.Get(chatsvc.HeaderEpoch), offset}, nil
}

// startWatcher lets someone watch the server at url from the beginning, or from
// where the ledger has it, and come back whenever the stream ends: to what url
// then returns.
func (l *load) startWatcher(name string, url func() string) {
	l.see(name)
	next := l.next(name)
	transport := as{"user5", newTransport(l.tb, true)}
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
func (l *load) watch(client chatconnect.SimpleChatClient, name string, next *place) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, strconv.FormatUint(next.offset, 10))
	if next.epoch != "" {
		call.RequestHeader().Set(chatsvc.HeaderEpoch, next.epoch)
	}
	read := l.recorder.Read()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for first := true; stream.Receive(); first = false {
		if first {
			p, err := placeOf(stream.ResponseHeader())
			if err != nil {
				l.blamef("watcher %s: %v", name, err)
			}
			if p.offset != next.offset || next.epoch != "" && p.epoch != next.epoch {
				l.blamef("watcher %s asked for %v, and was sent to %v", name, *next, p)
			}
			*next = p
		}
		for _, m := range stream.Msg().GetMessages() {
			read.Return(next.epoch, next.offset, saidOf(m).record())
			l.see(name, placed{*next, saidOf(m)})
			next.offset++
		}
	}
	return stream.Err()
}

// startProber asks the server at url again and again where the log ends, until the
// senders have stopped.
func (l *load) startProber(url string) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: as{"user5", newTransport(l.tb, true)}}, url, connect.WithGRPC())
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
	read := l.recorder.Read()
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
		l.blamef("the end of the log: %v in %v", err, stream.ResponseHeader())
		return err
	}
	read.End(stream.ResponseHeader().Get(chatsvc.HeaderEpoch), end)
	return nil
}

// awaitMore waits for n more acknowledgements.
func (l *load) awaitMore(n int) {
	l.tb.Helper()
	for want, deadline := l.count()+n, time.Now().Add(patience); l.count() < want; l.wait(time.Millisecond) {
		if time.Now().After(deadline) {
			l.tb.Fatalf("%d messages were acknowledged, %d were due", l.count(), want)
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
	read := l.recorder.Read()
	history := readHistory(l.tb, url, end)
	for _, m := range history {
		read.Return(m.epoch, m.offset, m.record())
	}
	l.awaitWatchers(end)
	l.end()
	return l.check(history)
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
func (l *load) sendLast(url string) place {
	l.tb.Helper()
	l.sendUntilTaken(url, "the end")
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[len(l.acked)-1].place
}

// sendUntilTaken sends a message that no other is like, and returns how often it
// was refused.
func (l *load) sendUntilTaken(url, content string) (refusals int) {
	l.tb.Helper()
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: as{"user5", newTransport(l.tb, true)}}, url)
	m := said{"user5", content, chatpb.ChatMessage_Text, 1}
	l.send(m)
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
func (l *load) awaitWatchers(end place) {
	for deadline := time.Now().Add(patience); len(l.behind(end)) > 0 && !l.isBlamed() && time.Now().Before(deadline); {
		l.wait(pause)
	}
}

// readHistory returns everything from the first retained message to end.
func readHistory(tb testing.TB, url string, end place) []placed {
	tb.Helper()
	ctx := testContext(tb)
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: as{"user4", newTransport(tb, true)}}, url, connect.WithGRPC())
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var history []placed
	for stream.Receive() {
		next, err := placeOf(stream.ResponseHeader())
		if err != nil {
			tb.Fatal(err)
		}
		next.offset += uint64(len(history))
		for _, m := range stream.Msg().GetMessages() {
			history = append(history, placed{next, saidOf(m)})
			next.offset++
		}
		if next.offset > end.offset {
			return history
		}
	}
	tb.Fatalf("the history ended before %v: %v", end, stream.Err())
	return nil
}
