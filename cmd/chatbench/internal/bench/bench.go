// Package bench is the measuring core: it offers a workload to a server, checks by their
// numbers that all messages arrive, and measures their latency and cost.
//
// Latency is measured from the time when a message was due, not from the time when it was
// sent. Lost, duplicate and reordered messages are counted in [Result.Faults].
package bench

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"net"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

const (
	// stallTime is the silence after the last send after which missing messages count as
	// lost.
	stallTime = 5 * time.Second
	// pollTime is the time between two checks of that.
	pollTime = 5 * time.Millisecond
	// takeTime bounds how long the last send waits for a server that takes no
	// bytes.
	takeTime = 30 * time.Second
)

var errTakesNothing = errors.New("the server takes no more sends")

// Bench is one run of a workload against a server. It can be used only once: call one of
// Execute, Store, Recall and FirstBatch.
type Bench struct {
	Settle   time.Duration // rest before memory is measured
	Process  *Process      // the server's, nil: not known
	Progress *Progress     // nil: none is shown

	workload Workload
	client   wire.Client
	dialer   *wire.Dialer
	state    *runState
	tallies  tallies
	subs     []*subscriber
	pubs     *publishers
	readers  sync.WaitGroup

	mu     sync.Mutex // guards conns
	conns  []net.Conn
	from   mark // the end of the warm-up
	result Result
}

// Login is the user that the generator logs in as.
type Login struct{ User, Password string }

// DemoUser is a user of simplechat and its peers.
var DemoUser = Login{"user1", "qwerty"}

// New prepares a run.
func New(w Workload, addr string, who Login) *Bench {
	w = w.Normalized()
	b := &Bench{
		workload: w,
		client: wire.New(wire.Call{
			Protocol: w.Protocol, Transport: w.Transport, Addr: addr,
			User: who.User, Password: who.Password, History: w.History,
		}),
		dialer: &wire.Dialer{Addr: addr, TLS: w.Transport == wire.TLS},
		state: &runState{
			id:    rand.Uint32() >> 4, //nolint:gosec // it tells runs apart, and is no secret
			base:  time.Now(),
			ready: make(chan struct{}, w.Subscribers+w.Toggling),
			done:  make(chan struct{}),
		},
		tallies: newTallies(max(1, min(w.Connections, 4*runtime.NumCPU()))),
		result:  Result{Workload: w, Address: addr, Date: time.Now(), Machine: ThisMachine()},
	}
	b.pubs = &publishers{run: b.state, content: NewContent(w.Size), latency: newHistogram()}
	return b
}

// Execute runs the workload. It returns an error if the run itself failed; the server's
// faults are in the result.
func (b *Bench) Execute(ctx context.Context) (*Result, error) {
	// Buffers are large and live long, so frequent garbage collection would gain nothing.
	// The pacer's thread gets a processor of its own.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1))
	senders := b.workload.Publishers
	if b.workload.Transport == wire.HTTP1 {
		senders *= b.workload.Window
	}
	if err := raiseFiles(b.workload.Connections + b.workload.Toggling + senders); err != nil {
		return nil, err
	}
	defer b.close()
	if err := b.open(ctx); err != nil {
		return nil, err
	}
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	b.close()
	b.verify()
	return &b.result, nil
}

// open subscribes everybody, and connects the publishers.
func (b *Bench) open(ctx context.Context) error {
	if err := b.measureRest(); err != nil {
		return err
	}
	start := time.Now()
	if err := b.subscribe(ctx); err != nil {
		return err
	}
	b.result.SubscribeTime = time.Since(start)
	if err := b.measureIdle(ctx); err != nil {
		return err
	}
	return b.connectPublishers(ctx)
}

// load offers the load, and waits until all of it has arrived.
func (b *Bench) load(ctx context.Context) error {
	sending, stop := context.WithTimeout(ctx, b.workload.Warmup+b.workload.Duration)
	defer stop()
	b.state.measured.Store(int64(b.state.now() + b.workload.Warmup))
	samples := b.newSampler()
	samples.start()
	defer samples.stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.send(sending)
	}()
	b.measureWindow(ctx)
	stop()
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-ended:
	case <-time.After(takeTime):
		return errTakesNothing
	}
	b.drain(ctx)
	b.result.Series = samples.stop()
	b.measureEnd()
	return ctx.Err()
}

// send publishes until ctx is done.
func (b *Bench) send(ctx context.Context) {
	switch {
	case len(b.pubs.conns) == 0:
	case b.workload.Rate == 0:
		b.pubs.closedLoop(ctx)
	default:
		b.pubs.fail(b.pubs.openLoop(ctx, b.pubs.conns[0].free, b.workload.Rate, math.MaxInt))
	}
}

// drain waits for answers to all sends, and for the messages to arrive at all
// healthy subscribers.
func (b *Bench) drain(ctx context.Context) {
	start := time.Now()
	moved, last := start, int64(-1)
	for tick := time.NewTicker(pollTime); ctx.Err() == nil; <-tick.C {
		c, _ := b.tallies.counts()
		landed := b.pubs.landed.Load()
		if landed == b.pubs.sent.Load() && c.deliveries >= b.pubs.stored.Load()*int64(b.healthy()) {
			break
		}
		if now := c.deliveries + landed; now != last {
			moved, last = time.Now(), now
		}
		if time.Since(moved) > stallTime || b.deserted() {
			break
		}
	}
	b.result.DrainTime = time.Since(start)
}

// deserted reports whether the server has ended all streams.
func (b *Bench) deserted() bool {
	for _, s := range b.subs {
		if s.broken() == nil {
			return false
		}
	}
	return len(b.subs) > 0
}

// healthy returns the number of subscribers that read as fast as they can.
func (b *Bench) healthy() int {
	n := 0
	for _, s := range b.subs {
		if s.kind == healthy {
			n++
		}
	}
	return n
}

// close ends all connections, and waits for their readers.
func (b *Bench) close() {
	if b.state.closing.Swap(true) {
		return
	}
	close(b.state.done)
	b.mu.Lock()
	for _, conn := range b.conns {
		_ = conn.Close()
	}
	b.mu.Unlock()
	b.readers.Wait()
}
