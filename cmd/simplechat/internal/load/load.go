// Package load has what clients do to a conversation while its servers suffer: they send,
// watch and ask where the log ends, and come back whenever a server does. A ledger notes all
// that they learn.
package load

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
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

// Unlimited returns the flags of a server that takes any number of messages from a user,
// retains all of them and replays all of them to a reader. A fast machine reaches the
// defaults within a test.
func Unlimited() []string {
	return []string{"--user-sends=0", "--retain-messages=0", "--retain-bytes=0", "--replay-messages=0", "--replay-bytes=0"}
}

// patience is how long a load waits for what must happen.
const patience = 60 * time.Second

// pause is how long a client waits before it tries again.
const pause = 20 * time.Millisecond

// Load is the clients of one conversation and their ledger. They keep trying through all
// failures of the servers. Each sender is another user and sends one message after the
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

// New returns a load that ends with the test, and continues a ledger.
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

func (l *Load) chatclient(user, urls string, more ...chatclient.Option) *chatclient.Client {
	l.tb.Helper()
	options := slices.Concat([]chatclient.Option{chatclient.WithBasicAuth(user, "qwerty"), chatclient.WithBackoff(pause, 10*pause)}, l.Options, more)
	client, err := chatclient.New(urls, options...)
	if err != nil {
		l.tb.Fatal(err)
	}
	l.tb.Cleanup(client.Close)
	return client
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
