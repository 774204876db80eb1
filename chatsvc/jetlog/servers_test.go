package jetlog_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc/jetlog"
)

// lazySettings are those of a cluster whose servers sync from time to time.
func (c *cluster) lazySettings() jetlog.Cluster {
	settings := c.settings("chat")
	settings.SyncAlways = false
	return settings
}

func (c *cluster) connectTo(tb testing.TB, settings jetlog.Cluster, opts jetlog.Options) *jetlog.Log {
	tb.Helper()
	log, err := jetlog.Connect(tb.Context(), settings, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

// awaitCurrent returns when all servers have all of the stream.
func (c *cluster) awaitCurrent(tb testing.TB) {
	tb.Helper()
	if len(c.options) == 1 {
		return
	}
	js := c.jetstream(tb)
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for !isCurrent(ctx, js, "chat", len(c.options)) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			tb.Fatal("the stream is not on all servers")
		}
	}
}

func isCurrent(ctx context.Context, js jetstream.JetStream, stream string, servers int) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a request may get no answer
	defer cancel()
	got, err := js.Stream(ctx, stream)
	if err != nil {
		return false
	}
	cluster := got.CachedInfo().Cluster
	if servers == 1 {
		return true
	}
	if cluster == nil || cluster.Leader == "" || len(cluster.Replicas) != servers-1 {
		return false
	}
	for _, r := range cluster.Replicas {
		if !r.Current || r.Offline || r.Lag > 0 {
			return false
		}
	}
	return true
}

// cutPower ends all servers, and restores the copies of their disks.
func (c *cluster) cutPower(tb testing.TB, copies []string) {
	tb.Helper()
	for i := range c.servers {
		c.stop(i)
	}
	for i := range c.servers {
		c.putBack(tb, i, copies[i])
	}
	for i := range c.servers {
		c.start(tb, i)
	}
}

// copies returns copies of what all servers have stored, as of a moment when they
// are stopped one after the other.
func (c *cluster) copies(tb testing.TB) []string {
	tb.Helper()
	var copies []string
	for i := range c.servers {
		c.stop(i)
		copies = append(copies, c.copyOf(tb, i))
		c.start(tb, i)
		c.awaitCurrent(tb)
	}
	return copies
}

// A power cut of the whole site begins a new epoch: acknowledged records may be
// lost, and others get their offsets. It does so whether a server of ours runs
// or not, and also if as many records were stored since.
func TestPowerCutBeginsEpoch(t *testing.T) {
	t.Parallel()
	for _, replicas := range []int{1, 3} {
		for _, running := range []bool{true, false} {
			t.Run(fmt.Sprintf("replicas=%d/running=%v", replicas, running), func(t *testing.T) {
				t.Parallel()
				c := newCluster(t, replicas)
				out := newTestLog(t)
				log := c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: slogTo(out)})
				appendKeyWhenUp(t, log, "1")
				closeLog(t, log)
				if replicas == 1 { // the copies need a restart, which is one of most servers
					log = c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: slogTo(out)})
					closeLog(t, log)
				}
				copies := c.copies(t)
				log = c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: slogTo(out)})
				before := state(t, log)
				for n := range 5 {
					appendKeyWhenUp(t, log, fmt.Sprint("lost ", n))
				}
				if !running {
					closeLog(t, log)
				}
				c.cutPower(t, copies)
				if !running {
					log = c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: slogTo(out)})
				}
				defer closeLog(t, log)
				after := state(t, log)
				if running && after.Epoch == before.Epoch { // it was asked before the log noticed
					t.Errorf("the log serves the epoch %s from before the power cut", after.Epoch)
				}
				if after.Epoch == before.Epoch || after.Next > before.Next {
					t.Errorf("state %+v, before %+v", after, before)
				}
				if want := "most nats servers of the stream were restarted and may have lost"; !strings.Contains(out.String(), want) {
					t.Errorf("%q is not in\n%s", want, out)
				}
				appendKeyWhenUp(t, log, "new")
			})
		}
	}
}

// NATS servers that restart one after the other while a server of ours runs keep the
// epoch, also for one that starts later.
func TestRollingRestartKeepsEpoch(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	log := c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: logger(t)})
	before := state(t, log)
	for n := range 5 {
		appendKeyWhenUp(t, log, fmt.Sprint(n))
	}
	for range 2 {
		for i := range c.servers {
			c.stop(i)
			c.start(t, i)
			c.awaitCurrent(t)
			c.awaitNoted(t, i)
		}
	}
	for range 2 {
		if after := state(t, log); after.Epoch != before.Epoch || after.Next != 6 {
			t.Errorf("state %+v, before %+v", after, before)
		}
		closeLog(t, log)
		log = c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: logger(t)})
	}
	closeLog(t, log)
}

// awaitNoted returns when the stream's metadata has the identity of the server i.
func (c *cluster) awaitNoted(tb testing.TB, i int) {
	tb.Helper()
	js := c.jetstream(tb)
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(tb.Context(), time.Second)
		got, err := js.Stream(ctx, "chat")
		cancel()
		if err == nil && strings.Contains(got.CachedInfo().Config.Metadata["simplechat-nats-servers"], c.servers[i].ID()) {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("the identity of server %d is not noted: %v", i, err)
		}
	}
}

// Where the operator says that nothing is lost with the power, the epoch stays.
func TestSyncAlwaysKeepsEpoch(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
	before := state(t, log)
	appendKeyWhenUp(t, log, "1")
	closeLog(t, log)
	for i := range c.servers {
		c.stop(i)
	}
	for i := range c.servers {
		c.start(t, i)
	}
	out := newTestLog(t)
	log = c.connect(t, "chat", jetlog.Options{Logger: slogTo(out)})
	defer closeLog(t, log)
	if after := state(t, log); after.Epoch != before.Epoch || after.Next != 2 {
		t.Errorf("state %+v, before %+v", after, before)
	}
	if !strings.Contains(out.String(), "no message is lost") {
		t.Errorf("the log says nothing of it:\n%s", out)
	}
}

// Several servers that notice a power cut agree on one new epoch.
func TestServersAgreeOnNewEpoch(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var logs []*jetlog.Log
	for range 4 {
		log := c.connectTo(t, c.lazySettings(), jetlog.Options{Logger: logger(t)})
		defer closeLog(t, log)
		collect(t, log)
		logs = append(logs, log)
	}
	before := state(t, logs[0])
	appendKeyWhenUp(t, logs[0], "1")
	for i := range c.servers {
		c.stop(i)
	}
	for i := range c.servers {
		c.start(t, i)
	}
	epochs := make(map[string]bool)
	for _, log := range logs {
		appendKeyInNewEpoch(t, log)
	}
	for _, log := range logs {
		epochs[state(t, log).Epoch] = true
	}
	if len(epochs) != 1 || epochs[before.Epoch] {
		t.Errorf("epochs %v, before %s", epochs, before.Epoch)
	}
}

// appendKeyInNewEpoch appends a record, and asks for the state as a service does
// when it is told of a new epoch.
func appendKeyInNewEpoch(t *testing.T, log *jetlog.Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		_, err := log.Append(ctx, newRecord(t, "x"), "")
		if err == nil {
			return
		}
		_, _ = log.State(ctx) // it fails until there is a leader
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	t.Fatal("the log does not come back")
}
