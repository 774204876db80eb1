// Package crowd runs many clients of one conversation that lose their connections and
// reconnect. Each client checks by the numbers of the messages that it misses none and
// gets none twice. A publisher sends the messages.
//
// The log must be empty at first and have no other sender: the offset of message n,
// counted from 0, is n+1.
package crowd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// Config configures the clients of a crowd.
type Config struct {
	Clients  int
	Addr     string        // HOST:PORT of the server
	Speak    []Speech      // the clients use them in turn; at least one
	AnySend  bool          // the publisher speaks all protocols in turn; else gRPC
	Resume   bool          // clients name the offset that they need next; else they ask for new messages only
	Every    time.Duration // mean time until a client's connection is cut, 0: never
	Offline  time.Duration // longest time until it connects again
	User     string
	Password string
}

// Speech is a protocol and its transport.
type Speech struct{ Protocol, Transport string }

// Crowd is clients of one conversation. Its methods are safe for concurrent use.
type Crowd struct {
	config  Config
	dialer  wire.Dialer
	turns   chan struct{} // one for each connection that is being opened
	clients []*client
	running sync.WaitGroup
	ready   chan struct{} // gets a value from each client at its first batch
	stored  atomic.Uint64 // messages that were acknowledged
	cuts    atomic.Int64
	marked  atomic.Int64 // see Mark; in nanoseconds since base
	base    time.Time

	mu      sync.Mutex // guards all below
	caught  []time.Duration
	back    []time.Duration
	reasons map[string]int // why connections ended that the crowd did not cut
}

// dialers is how many connections are opened at a time.
const dialers = 64

// Start starts all clients. They end with ctx.
func Start(ctx context.Context, c Config) *Crowd {
	crowd := &Crowd{config: c, dialer: wire.Dialer{Addr: c.Addr}, turns: make(chan struct{}, dialers), ready: make(chan struct{}, c.Clients), base: time.Now(), reasons: map[string]int{}}
	for i := range c.Clients {
		speech := c.Speak[i%len(c.Speak)]
		cl := &client{crowd: crowd, speech: speech}
		crowd.clients = append(crowd.clients, cl)
		crowd.running.Go(func() { cl.run(ctx) })
	}
	return crowd
}

// Wait returns when all clients have ended.
func (c *Crowd) Wait() { c.running.Wait() }

// AwaitAll returns when each client has had its first batch, or with an error when
// ctx is done.
func (c *Crowd) AwaitAll(ctx context.Context) error {
	for i := range c.clients {
		select {
		case <-c.ready:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d clients are connected (%s): %w", i, len(c.clients), c.Reasons(), ctx.Err())
		}
	}
	return nil
}

var errBehind = errors.New("clients do not get what was acknowledged")

// pollTime is the time between two checks of a waiting function.
const pollTime = 10 * time.Millisecond

// AwaitCaughtUp returns when each client has received all acknowledged messages. If ctx
// is done before, the error has the number of clients that have not.
func (c *Crowd) AwaitCaughtUp(ctx context.Context) error {
	for tick := time.NewTicker(pollTime); ; {
		behind := 0
		for _, cl := range c.clients {
			if cl.next.Load() < c.stored.Load() {
				behind++
			}
		}
		if behind == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d %w (%s): %w", behind, len(c.clients), errBehind, c.Reasons(), ctx.Err())
		}
	}
}

// Mark begins the measurement of [Result.Back], which ends with a client's first batch on
// a later connection.
func (c *Crowd) Mark() { c.marked.Store(int64(time.Since(c.base))) }

// AwaitBack returns when each client has received a batch on a connection that was opened
// after Mark.
func (c *Crowd) AwaitBack(ctx context.Context) error {
	for tick := time.NewTicker(pollTime); ; {
		c.mu.Lock()
		n := len(c.back)
		c.mu.Unlock()
		if n >= len(c.clients) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d clients are back (%s): %w", n, len(c.clients), c.Reasons(), ctx.Err())
		}
	}
}

// Result holds the observations of a crowd.
type Result struct {
	Messages, Deliveries int64
	Cuts                 int64 // connections that the crowd has cut
	Lost, Twice          int64 // missing deliveries, and repeated ones
	CaughtUp             Times // from the begin of a connection until all older messages have arrived; only for clients that resume
	Back                 Times // see Mark
}

// Result returns the observations until now. Messages that a client has not received yet
// count as lost.
func (c *Crowd) Result() Result {
	r := Result{Messages: int64(c.stored.Load()), Cuts: c.cuts.Load()}
	for _, cl := range c.clients {
		r.Deliveries += cl.got.Load()
		r.Lost += cl.lost.Load() + max(0, r.Messages-int64(cl.next.Load()))
		r.Twice += cl.twice.Load()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.CaughtUp, r.Back = newTimes(c.caught), newTimes(c.back)
	return r
}

// Reasons returns why connections ended that the crowd has not cut.
func (c *Crowd) Reasons() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.reasons) == 0 {
		return "no connection broke"
	}
	return fmt.Sprintf("connections that broke: %v", c.reasons)
}

// broke counts the end of a connection by its reason. It bounds the number of reasons.
func (c *Crowd) broke(err error) {
	const most = 20
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := fmt.Sprint(err); c.reasons[text] > 0 || len(c.reasons) < most {
		c.reasons[text]++
	}
}

// Times are the quantiles of some durations.
type Times struct {
	Count              int
	P50, P95, P99, Max time.Duration
}

func newTimes(all []time.Duration) Times {
	if len(all) == 0 {
		return Times{}
	}
	all = slices.Clone(all)
	slices.Sort(all)
	at := func(part float64) time.Duration { return all[min(len(all)-1, int(part*float64(len(all))))] }
	return Times{len(all), at(0.50), at(0.95), at(0.99), all[len(all)-1]}
}

// life returns how long a connection lives: half of the mean time to one and a half.
func (c Config) life() time.Duration {
	return c.Every/2 + rand.N(c.Every) //nolint:gosec // it spreads load
}
