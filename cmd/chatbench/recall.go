package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

const (
	// perMessage is what each message of a history may take to be stored: a
	// server that died does not answer.
	perMessage = 500 * time.Microsecond
	// storeTime is what may be added to that.
	storeTime = time.Minute
	// recallTime bounds the time to read a history.
	recallTime = 10 * time.Minute
	// retryTime is the time between two attempts to reach a server that starts.
	retryTime = time.Millisecond
)

// storing is the workload that stores a history: as fast as the server takes it,
// on whichever connection is free.
func storing(size int) workload {
	w := crowd(0, math.Inf(1))
	w.Protocol, w.Size = protocolGRPC, size
	return w
}

// reading is the workload of subscribers that read the whole history on shared
// connections.
func reading(protocol string, subscribers, connections int) workload {
	w := idleCrowd(subscribers)
	w.Protocol, w.Connections, w.History = protocol, connections, historyAll
	return w
}

// store sends n messages, and returns when all are acknowledged.
func (b *bench) store(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime+time.Duration(n)*perMessage)
	defer cancel()
	defer b.close()
	if err := b.connectPublishers(ctx); err != nil {
		return err
	}
	if err := b.pubs.openLoop(ctx, b.pubs.conns[0].free, b.workload.Rate, n); err != nil {
		return err
	}
	b.drain(ctx)
	if err := b.pubs.broken(); err != nil {
		return err
	}
	if stored := b.pubs.stored.Load(); stored != int64(n) {
		return fmt.Errorf("%d of %d messages were acknowledged", stored, n)
	}
	return nil
}

// recall subscribes, and returns how long it took until all subscribers together
// had read n messages of others.
func (b *bench) recall(ctx context.Context, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	defer b.close()
	began := time.Now()
	if err := b.subscribe(ctx); err != nil {
		return 0, err
	}
	for {
		c, _ := b.tallies.counts()
		if c.foreign >= int64(n) {
			return time.Since(began), nil
		}
		for _, s := range b.subs {
			if err := s.broken(); err != nil {
				return 0, fmt.Errorf("after %d of %d messages: %w", c.foreign, n, err)
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the server sent %d messages, not %d", c.foreign, n)
		}
		wait(ctx, pollTime)
	}
}

var errNoHistory = errors.New("the server began the stream without a message")

// firstMessage connects until the child takes connections and calls, and returns
// the time from its execution to the first batch with a message.
func (c *child) firstMessage(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, childStart)
	defer cancel()
	w := reading(protocolGRPC, 1, 1)
	w.History = historyReplay
	for {
		counts, err := c.attempt(ctx, w)
		took := time.Since(c.began)
		switch {
		case err == nil && counts.foreign == 0:
			return 0, errNoHistory
		case err == nil:
			return took, nil
		case ctx.Err() != nil:
			return 0, err
		}
		wait(ctx, retryTime)
	}
}

// attempt subscribes once, and returns what came with the first batch.
func (c *child) attempt(ctx context.Context, w workload) (counts, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return counts{}, err // before a bench is made, which costs the starting server CPU
	}
	_ = conn.Close()
	b := newBench(w, c.addr, demoUser)
	defer b.close()
	if err := b.subscribe(ctx); err != nil {
		return counts{}, err
	}
	sum, _ := b.tallies.counts()
	return sum, nil
}
