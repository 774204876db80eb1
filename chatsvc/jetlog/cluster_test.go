package jetlog_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/jetlog"
	"example.com/simplechat/chatsvc/logtest"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// cluster is NATS servers on loopback that form one.
type cluster struct {
	options []*server.Options
	servers []*server.Server
}

// newCluster starts a cluster of n servers. It ends with the test.
func newCluster(tb testing.TB, n int) *cluster {
	tb.Helper()
	c := &cluster{servers: make([]*server.Server, n)}
	var ports []int
	for _, text := range chattest.FreePorts(tb, 2*n) {
		port, err := strconv.Atoi(text)
		if err != nil {
			tb.Fatal(err)
		}
		ports = append(ports, port)
	}
	var routes []*url.URL
	for i := range n {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[n+i])})
	}
	for i := range n {
		o := natsOptions(tb)
		o.ServerName, o.Port = fmt.Sprintf("n%d", i), ports[i]
		if n > 1 {
			o.Cluster = server.ClusterOpts{Name: "chat", Host: "127.0.0.1", Port: ports[n+i]}
			o.Routes = routes
		}
		c.options = append(c.options, o)
	}
	for i := range n {
		c.start(tb, i)
	}
	return c
}

// start starts the server i.
func (c *cluster) start(tb testing.TB, i int) {
	tb.Helper()
	c.servers[i] = startEmbedded(tb, c.options[i].Clone())
}

// startWith starts the server i and stores records in the stream chat before
// anybody else can.
func (c *cluster) startWith(tb testing.TB, i, records int) {
	tb.Helper()
	hidden := c.options[i].Clone()
	hidden.DontListen = true
	srv := startEmbedded(tb, hidden)
	conn, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		tb.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		tb.Fatal(err)
	}
	for range records {
		if _, err := js.Publish(tb.Context(), "chat", newRecord(tb, "another")); err != nil {
			tb.Fatal(err)
		}
	}
	conn.Close()
	srv.Shutdown()
	srv.WaitForShutdown()
	c.start(tb, i)
}

// stop ends the server i.
func (c *cluster) stop(i int) {
	if srv := c.servers[i]; srv != nil {
		c.servers[i] = nil
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// copyOf returns a copy of what the server i, which does not run, has stored. A NATS
// server may remove files for a moment after it has ended.
func (c *cluster) copyOf(tb testing.TB, i int) string {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		dir := filepath.Join(tb.TempDir(), "copy")
		err := os.CopyFS(dir, os.DirFS(c.options[i].StoreDir))
		if err == nil {
			return dir
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(deadline) {
			tb.Fatal(err)
		}
	}
}

// putBack replaces what the server i, which does not run, has stored by a copy.
func (c *cluster) putBack(tb testing.TB, i int, copied string) {
	tb.Helper()
	if err := os.RemoveAll(c.options[i].StoreDir); err != nil {
		tb.Fatal(err)
	}
	if err := os.CopyFS(c.options[i].StoreDir, os.DirFS(copied)); err != nil {
		tb.Fatal(err)
	}
}

// urls returns the servers' addresses.
func (c *cluster) urls() []string {
	var urls []string
	for _, o := range c.options {
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", o.Port))
	}
	return urls
}

// settings returns how to reach a stream of the cluster.
func (c *cluster) settings(stream string) jetlog.Cluster {
	return jetlog.Cluster{URLs: c.urls(), Stream: stream, Replicas: len(c.options), MaxContent: chatsvc.MaxContentCeiling, SyncAlways: true}
}

// jetstream returns a client of the cluster's own. It ends with the test.
func (c *cluster) jetstream(tb testing.TB) jetstream.JetStream {
	tb.Helper()
	conn, err := nats.Connect(strings.Join(c.urls(), ","))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		tb.Fatal(err)
	}
	return js
}

// opener returns what opens a stream of the cluster, each time with a
// connection of its own.
func (c *cluster) opener(stream string, r chatsvc.Retention) logtest.Opener {
	return func(tb testing.TB) (chatsvc.Log, func()) {
		log := c.connect(tb, stream, jetlog.Options{Retention: r, Logger: logger(tb)})
		return log, func() {
			if err := log.Close(); err != nil {
				tb.Error(err)
			}
		}
	}
}

func (c *cluster) connect(tb testing.TB, stream string, opts jetlog.Options) *jetlog.Log {
	tb.Helper()
	log, err := jetlog.Connect(tb.Context(), c.settings(stream), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	var streams atomic.Int64
	newLog := func(_ testing.TB, r chatsvc.Retention) logtest.Opener {
		return c.opener(fmt.Sprint("s", streams.Add(1)), r)
	}
	t.Run("log", func(t *testing.T) {
		t.Parallel()
		logtest.Log(t, newLog)
	})
	t.Run("resume", func(t *testing.T) {
		t.Parallel()
		logtest.Resume(t, newLog)
	})
	t.Run("leader changes", func(t *testing.T) {
		t.Parallel()
		testLeaderChanges(t, c)
	})
}

// Servers that start together make one stream, though not every NATS server
// knows it at once.
func TestServersStartTogether(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3)
	for n := range 10 {
		epochs := make(chan string, 3)
		for range cap(epochs) {
			go func() {
				epoch := ""
				defer func() { epochs <- epoch }()
				log, err := jetlog.Connect(t.Context(), c.settings(fmt.Sprint("chat", n)), jetlog.Options{})
				if err != nil {
					t.Errorf("stream %d: %v", n, err)
					return
				}
				defer closeLog(t, log)
				epoch = state(t, log).Epoch
			}()
		}
		if first, second, third := <-epochs, <-epochs, <-epochs; first != second || second != third {
			t.Errorf("stream %d: epochs %q, %q and %q", n, first, second, third)
		}
	}
}

// followEpoch follows a log from the start until Follow fails, and returns why.
func followEpoch(log *jetlog.Log, epoch string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ended <- log.Follow(context.Background(), epoch, 1, func(chatsvc.Chunk) error { return nil })
	}()
	return ended
}

// awaitDown returns when the log can store messages no longer.
func awaitDown(tb testing.TB, log *jetlog.Log) {
	tb.Helper()
	for deadline := time.Now().Add(patience); log.Err() == nil; {
		if time.Now().After(deadline) {
			tb.Fatal("the log is still up")
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitUp returns when the log can store messages.
func awaitUp(tb testing.TB, log *jetlog.Log) {
	tb.Helper()
	for deadline := time.Now().Add(patience); log.Err() != nil; {
		if time.Now().After(deadline) {
			tb.Fatalf("the log is still down: %v", log.Err())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// state returns the state as soon as the stream has a leader.
func state(tb testing.TB, log *jetlog.Log) chatsvc.State {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		got, err := log.State(tb.Context())
		if err == nil {
			return got
		}
		if time.Now().After(deadline) {
			tb.Fatal(err)
		}
	}
}

// A stream with the limits of an older version, or of other flags, gets the needed
// ones, and keeps its messages and its epoch.
func TestLimitsAreAdapted(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	js := c.jetstream(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "chat", Subjects: []string{"chat"}, MaxMsgs: 10_000 + 4096, MaxBytes: 64<<20 + 16<<20 + 10_000*256,
		Duplicates: chatsvc.KeyWindow, DenyDelete: true, DenyPurge: true, Metadata: map[string]string{"simplechat-epoch": "OLD"},
	})
	if err != nil {
		t.Fatal(err)
	}
	log := c.connect(t, "chat", jetlog.Options{})
	appendText(t, log, "old")
	closeLog(t, log)

	out := newTestLog(t)
	log = c.connect(t, "chat", jetlog.Options{Retention: chatsvc.Retention{Bytes: 1 << 30, Age: time.Hour}, Logger: slogTo(out)})
	defer closeLog(t, log)
	if got := state(t, log); got != (chatsvc.State{Epoch: "OLD", First: 1, Next: 2}) {
		t.Errorf("state %+v", got)
	}
	if want := "max_bytes is -1, but 1140850688 is needed, max_age is 0s, but 1h3m45s is needed"; !strings.Contains(out.String(), want) {
		t.Errorf("%q is not in\n%s", want, out)
	}
	stream, err := js.Stream(t.Context(), "chat")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().Config; got.MaxMsgs != -1 || got.MaxBytes != 1<<30+1<<26 || got.MaxAge != time.Hour+time.Hour/16 || !got.AllowDirect {
		t.Errorf("the stream has %+v", got)
	}
}

// A stream of another kind is refused, and the error names the difference.
func TestStreamOfAnotherKindIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	_, err := c.jetstream(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "chat", Subjects: []string{"chat", "more"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	_, err = jetlog.Connect(t.Context(), c.settings("chat"), jetlog.Options{})
	for _, want := range []string{"stream chat", "subjects is [chat more], but [chat] is needed", "storage is Memory, but File is needed", "nats stream edit"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// A setting that the servers do not allow is an error that says what to change.
func TestClusterMistakesAreExplained(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	for name, tt := range map[string]struct {
		change func(*jetlog.Cluster)
		want   string
	}{
		"replicas": {func(s *jetlog.Cluster) { s.Replicas = 3 }, "replicas > 1 not supported in non-clustered mode"},
		"payload":  {func(s *jetlog.Cluster) { s.MaxContent = 9 << 20 }, "set max_payload"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			settings := c.settings("mistakes")
			tt.change(&settings)
			log, err := jetlog.Connect(t.Context(), settings, jetlog.Options{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("connect: %v, %v", log, err)
			}
		})
	}
}

// Where no NATS server answers, the log's log and the error name them, and neither
// passwords nor tokens.
func TestServersAwayAreNamed(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // one try is enough
	out := newTestLog(t)
	_, err := jetlog.Connect(ctx, jetlog.Cluster{URLs: []string{"user:secret@127.0.0.1:1", "nats://secret@127.0.0.1:2"}, Stream: "chat", Replicas: 1},
		jetlog.Options{Logger: slogTo(out)})
	for where, text := range map[string]string{"error": fmt.Sprint(err), "log": out.String()} {
		for _, want := range []string{"nats://user:xxxxx@127.0.0.1:1,nats://xxxxx@127.0.0.1:2", "no servers available"} {
			if !strings.Contains(text, want) {
				t.Errorf("%q is not in the %s: %s", want, where, text)
			}
		}
		if strings.Contains(text, "secret") {
			t.Errorf("a secret is in the %s: %s", where, text)
		}
	}
}

// While NATS is away sends fail at once and Follow waits; when it is back the log
// continues, without a gap or a duplicate.
func TestNATSAway(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
	defer closeLog(t, log)
	seen := collect(t, log)
	for range 3 {
		seen.await(t, appendText(t, log, "before"))
	}
	for range 2 {
		c.stop(0)
		awaitDown(t, log)
		var work sync.WaitGroup // all of them end, while NATS is away
		for range 1000 {
			work.Go(func() {
				if _, err := log.Append(t.Context(), newRecord(t, "while away"), ""); connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("append while NATS is away: %v", err)
				}
			})
		}
		work.Wait()
		c.start(t, 0)
		awaitUp(t, log)
		last := appendWhenUp(t, log)
		for i, e := range seen.await(t, last) {
			if e.Offset != uint64(i)+1 {
				t.Fatalf("offset %d where %d was due", e.Offset, i+1)
			}
		}
	}
}

// A consumer that shows that it is alive, and yet delivers nothing of the records that
// are in the stream, is replaced.
func TestStalledConsumerIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	log := c.connect(t, "chat", jetlog.Options{Logger: logger(t)})
	defer closeLog(t, log)
	seen := collect(t, log)
	seen.await(t, appendText(t, log, "before"))
	stream, err := c.jetstream(t).Stream(t.Context(), "chat")
	if err != nil {
		t.Fatal(err)
	}
	paused := 0
	for name := range stream.ConsumerNames(t.Context()).Name() {
		if _, err := stream.PauseConsumer(t.Context(), name, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		paused++
	}
	if paused != 1 {
		t.Fatalf("%d consumers are paused: the test shows nothing", paused)
	}
	for i, e := range seen.await(t, appendText(t, log, "after")) {
		if e.Offset != uint64(i)+1 {
			t.Errorf("offset %d where %d was due", e.Offset, i+1)
		}
	}
}

// A stream that was removed is made again with another epoch, by one of those who
// follow it, and all see it.
func TestRemovedStream(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	logs := []*jetlog.Log{
		c.connect(t, "chat", jetlog.Options{Logger: logger(t)}),
		c.connect(t, "chat", jetlog.Options{Logger: logger(t)}),
	}
	before := state(t, logs[0])
	var ended []<-chan error
	for _, log := range logs {
		defer closeLog(t, log)
		appendText(t, log, "old")
		ended = append(ended, followEpoch(log, before.Epoch))
	}
	if err := c.jetstream(t).DeleteStream(t.Context(), "chat"); err != nil {
		t.Fatal(err)
	}
	for i, log := range logs {
		select {
		case err := <-ended[i]:
			if err == nil || !strings.Contains(err.Error(), "replaced") {
				t.Errorf("follow ended with %v", err)
			}
		case <-time.After(patience):
			t.Fatal("a Follow of a removed stream does not end")
		}
		if log.Err() == nil {
			t.Error("the log stores messages in an epoch that it has not told")
		}
	}
	one, two := state(t, logs[0]), state(t, logs[1])
	if one.Epoch == before.Epoch || one != two || one.Next != 1 {
		t.Errorf("states %+v and %+v, before %+v", one, two, before)
	}
	for _, log := range logs {
		awaitUp(t, log)
	}
	if got := appendWhenUp(t, logs[0]); got != 1 {
		t.Errorf("offset %d in the new stream", got)
	}
	collect(t, logs[1]).await(t, 1)
}

// A stream that has lost records that were seen gets another epoch, even if as
// many others were stored since.
func TestStreamWentBack(t *testing.T) {
	t.Parallel()
	for name, others := range map[string]int{"shorter": 0, "overtaken": 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(t, 1)
			out := newTestLog(t)
			log := c.connect(t, "chat", jetlog.Options{Logger: slogTo(out)})
			defer closeLog(t, log)
			before := state(t, log)
			seen := collect(t, log)
			for range 5 {
				seen.await(t, appendText(t, log, "kept"))
			}
			c.stop(0)
			copied := c.copyOf(t, 0)
			c.start(t, 0)
			awaitUp(t, log)
			for range 5 {
				seen.await(t, appendWhenUp(t, log))
			}
			c.stop(0)
			c.putBack(t, 0, copied)
			c.startWith(t, 0, others)
			seen.awaitEnd(t)
			if !strings.Contains(out.String(), "went back") {
				t.Errorf("the log says nothing of it:\n%s", out)
			}
			if after := state(t, log); after.Epoch == before.Epoch || after.Next != uint64(5+others)+1 {
				t.Errorf("state %+v, before %+v", after, before)
			}
			awaitUp(t, log)
		})
	}
}

// A key is known for its window also where the message had to go because of the
// retention and the NATS servers, which know keys in memory, have started since.
func TestKeyOutlivesNATS(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	newLog := func() *jetlog.Log {
		log := c.connect(t, "chat", jetlog.Options{Retention: chatsvc.Retention{Messages: 1}, Logger: logger(t)})
		t.Cleanup(func() { closeLog(t, log) })
		return log
	}
	sender, watcher := newLog(), newLog()
	seen := collect(t, watcher)
	first, err := sender.Append(t.Context(), newRecord(t, "once"), "key")
	if err != nil {
		t.Fatal(err)
	}
	fillConcurrently(t, sender, 5000)
	seen.await(t, first.Offset+5000)
	if got := state(t, sender); got.First <= first.Offset {
		t.Fatalf("the message is still there: %+v", got)
	}
	c.stop(0)
	c.start(t, 0)
	for name, log := range map[string]*jetlog.Log{"the one that stored it": sender, "one that has seen it": watcher} {
		if got, want := appendKeyWhenUp(t, log, "key"), (chatsvc.Appended{Epoch: first.Epoch, Offset: first.Offset, Duplicate: true}); got != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// A stream whose settings are changed while servers use it is reported, once; one
// that takes no messages of theirs is a reason why nothing can be stored.
func TestChangedSettingsAreReported(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	out := newTestLog(t)
	log := c.connect(t, "chat", jetlog.Options{Retention: chatsvc.Retention{Messages: 100}, Logger: slogTo(out)})
	defer closeLog(t, log)
	js := c.jetstream(t)
	stream, err := js.Stream(t.Context(), "chat")
	if err != nil {
		t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	update := func(done func() bool) {
		t.Helper()
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(patience); !done(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("nothing comes of it: %v", log.Err())
			}
		}
	}
	changed := fmt.Sprintf("max_msgs is 10, but %d is needed", chatsvc.Retention{Messages: 100}.Stored().Messages)
	config.MaxMsgs = 10
	update(func() bool { return strings.Contains(out.String(), changed) })
	appendText(t, log, "still stored")
	config.Subjects = []string{"elsewhere"}
	update(func() bool { return log.Err() != nil })
	if err := log.Err(); !strings.Contains(err.Error(), "its subjects are [elsewhere], and must be [chat]") {
		t.Errorf("the log is down because of %v", err)
	}
	config.Subjects = []string{"chat"}
	update(func() bool { return log.Err() == nil })
	appendText(t, log, "stored again")
	if n := strings.Count(out.String(), changed); n != 1 {
		t.Errorf("%d reports of the same change", n)
	}
}
