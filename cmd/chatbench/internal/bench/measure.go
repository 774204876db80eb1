package bench

import (
	"context"
	"fmt"
	"time"
)

// measureRest takes the server's memory before anyone subscribes.
func (b *Bench) measureRest() error {
	if b.Process == nil {
		return nil
	}
	// Where the peak cannot be reset, it is that of the server's whole life.
	_ = b.Process.resetPeak()
	rest, err := b.Process.Resident()
	if err != nil {
		return fmt.Errorf("--pid: %w", err)
	}
	b.result.Server = &Server{PID: b.Process.PID, RestBytes: rest}
	return nil
}

// measureIdle takes the server's memory when all are subscribed.
func (b *Bench) measureIdle(ctx context.Context) error {
	if b.Process == nil {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.Settle):
	}
	idle, err := b.Process.Resident()
	if err != nil {
		return fmt.Errorf("--pid: %w", err)
	}
	r := b.result.Server
	r.IdleBytes = idle
	if n := len(b.subs); n > 0 {
		r.BytesPerSubscriber = (idle - r.RestBytes) / int64(n)
	}
	return nil
}

// mark holds all counts at one moment.
type mark struct {
	at       time.Time
	counts   counts
	received int64
	sent     int64
	stored   int64
	server   time.Duration // CPU
	own      time.Duration // CPU
}

// mark returns the current counts. If the server's process has ended, that is a fault of
// the run, which still reports the rest.
func (b *Bench) mark() mark {
	m := mark{at: time.Now(), sent: b.pubs.sent.Load(), stored: b.pubs.stored.Load(), own: ownCPU()}
	m.counts, m.received = b.tallies.counts()
	if b.Process == nil {
		return m
	}
	var err error
	if m.server, err = b.Process.cpu(); err != nil {
		b.pubs.fail(fmt.Errorf("the server's process: %w", err))
		b.Process = nil
	}
	return m
}

// measureWindow waits for the end of the warm-up and then for the end of the load, and
// computes the rates between the two.
func (b *Bench) measureWindow(ctx context.Context) {
	Wait(ctx, b.workload.Warmup)
	from := b.mark()
	b.from = from
	Wait(ctx, b.workload.Duration)
	to := b.mark()
	seconds := to.at.Sub(from.at).Seconds()
	r := &b.result
	r.Seconds = seconds
	r.SendsPerSecond = float64(to.stored-from.stored) / seconds
	r.DeliveriesPerSecond = float64(to.counts.deliveries-from.counts.deliveries) / seconds
	r.BytesPerSecond = float64(to.received-from.received) / seconds
	r.OwnCores = (to.own - from.own).Seconds() / seconds
	if b.Process != nil {
		r.Server.Cores = (to.server - from.server).Seconds() / seconds
	}
	if batches := to.counts.batches - from.counts.batches; batches > 0 {
		r.MessagesPerBatch = float64(to.counts.carried-from.counts.carried) / float64(batches)
	}
}

// measureEnd computes the cost of all deliveries since the warm-up, including those after
// the last send.
func (b *Bench) measureEnd() {
	to := b.mark()
	if b.Process == nil {
		return
	}
	r := b.result.Server
	cpu := to.server - b.from.server
	if n := to.counts.deliveries - b.from.counts.deliveries; n > 0 {
		r.NanosPerDelivery = float64(cpu) / float64(n)
	}
	if n := to.stored - b.from.stored; n > 0 {
		r.NanosPerSend = float64(cpu) / float64(n)
	}
	var err error
	if r.PeakBytes, err = b.Process.peak(); err != nil {
		b.pubs.fail(fmt.Errorf("the server's process: %w", err))
	}
}

// Wait waits for d, or for the end of ctx.
func Wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
