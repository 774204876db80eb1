package crowd

import (
	"context"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/testkit"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

// speeches are all that a server without TLS answers.
var speeches = []Speech{
	{wire.GRPC, wire.H2C}, {wire.GRPCWeb, wire.H2C}, {wire.GRPCWeb, wire.HTTP1}, {wire.Connect, wire.H2C},
	{wire.ConnectJSON, wire.HTTP1}, {wire.NDJSON, wire.H2C}, {wire.NDJSON, wire.HTTP1},
}

// newServer serves the chat, and returns its address.
func newServer(tb testing.TB) string {
	tb.Helper()
	_, srv := testkit.Serve(tb, false)
	return srv.Listener.Addr().String()
}

// gather starts a crowd whose clients are all connected.
func gather(tb testing.TB, c Config) (context.Context, *Crowd) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	c.User, c.Password = "user1", "qwerty"
	crowd := Start(ctx, c)
	tb.Cleanup(func() {
		cancel()
		crowd.Wait()
	})
	if err := crowd.AwaitAll(ctx); err != nil {
		tb.Fatal(err)
	}
	return ctx, crowd
}

// publish sends until a condition holds, some messages at least.
func publish(ctx context.Context, tb testing.TB, c *Crowd, enough func(Result) bool) {
	tb.Helper()
	sending, stop := context.WithCancel(ctx)
	ended := make(chan error)
	go func() { ended <- c.Publish(sending, 200, func(n uint64) int { return int(n) }) }()
	for r := c.Result(); r.Messages < 20 || !enough(r); r = c.Result() {
		select {
		case <-time.After(pollTime):
		case <-ctx.Done():
			tb.Fatalf("not enough happened: %+v, %s", r, c.Reasons())
		}
	}
	stop()
	if err := <-ended; err != nil {
		tb.Fatal(err)
	}
}

// Clients that resume lose nothing, however often their connections are cut.
func TestResume(t *testing.T) {
	t.Parallel()
	ctx, c := gather(t, Config{Clients: 14, Addr: newServer(t), Speak: speeches, AnySend: true, Resume: true, Every: 50 * time.Millisecond, Offline: 20 * time.Millisecond})
	publish(ctx, t, c, func(r Result) bool { return r.Cuts > 50 })
	if err := c.AwaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	if r := c.Result(); r.Lost != 0 || r.Twice != 0 || r.Deliveries != 14*r.Messages || r.CaughtUp.Count < 50 {
		t.Errorf("%+v, %s", r, c.Reasons())
	}
}

// Clients that ask for new messages only lose the messages of the time when they are
// away, and the crowd reports that.
func TestWithoutResume(t *testing.T) {
	t.Parallel()
	ctx, c := gather(t, Config{Clients: 4, Addr: newServer(t), Speak: speeches, Every: 20 * time.Millisecond, Offline: 50 * time.Millisecond})
	publish(ctx, t, c, func(Result) bool {
		n := int64(0)
		for _, cl := range c.clients {
			n += cl.lost.Load()
		}
		return n > 0
	})
	if r := c.Result(); r.CaughtUp.Count > 0 {
		t.Errorf("%+v", r)
	}
}

// Every client counts as back once, at its first batch after the mark.
func TestBack(t *testing.T) {
	t.Parallel()
	ctx, c := gather(t, Config{Clients: 7, Addr: newServer(t), Speak: speeches, Resume: true, Every: 50 * time.Millisecond})
	c.Mark()
	if err := c.AwaitBack(ctx); err != nil {
		t.Fatal(err)
	}
	if r := c.Result(); r.Back.Count != 7 || r.Back.P50 <= 0 || r.Back.Max < r.Back.P95 {
		t.Errorf("%+v", r.Back)
	}
}

// A client counts missing and repeated messages.
func TestClientCounts(t *testing.T) {
	t.Parallel()
	c := &client{}
	for _, n := range []uint64{0, 1, 1, 4, 5, 0} {
		c.Message(newContent(n, 0))
	}
	c.Message([]byte("another sender's"))
	if got, lost, twice := c.got.Load(), c.lost.Load(), c.twice.Load(); got != 4 || lost != 2 || twice != 2 {
		t.Errorf("%d messages, %d lost, %d twice", got, lost, twice)
	}
}
