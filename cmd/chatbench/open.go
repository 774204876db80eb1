package main

import (
	"context"
	"fmt"
	"net"
	"time"
)

const (
	// dialers is how many connections are opened at a time.
	dialers = 64
	// subscribeTime bounds the wait for all first batches.
	subscribeTime = 2 * time.Minute
)

// subscribe opens all streams, and returns when each has its first batch.
func (b *bench) subscribe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, subscribeTime)
	defer cancel()
	turns := make(chan struct{}, dialers)
	for i, l := range b.workload.lines() {
		subs := b.newSubscribers(l, b.tallies[i%len(b.tallies)])
		b.subs = append(b.subs, subs...)
		b.readers.Go(func() { b.read(ctx, subs, turns) })
	}
	for i := range b.subs {
		select {
		case <-b.state.ready:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d subscribers got their first batch: %w", i, len(b.subs), ctx.Err())
		}
		b.progress.subscribed(i+1, len(b.subs))
	}
	for _, s := range b.subs {
		if s.broken() != nil {
			return fmt.Errorf("subscribe: %w", s.broken())
		}
	}
	return nil
}

func (b *bench) newSubscribers(l line, t *tally) []*subscriber {
	subs := make([]*subscriber, l.streams)
	slots := b.workload.Publishers * b.workload.Window
	for i := range subs {
		subs[i] = &subscriber{
			kind:    l.kind,
			run:     b.state,
			tally:   t,
			checker: newChecker(slots),
			scan:    newScanner(dialects[b.workload.Protocol].form),
		}
	}
	return subs
}

// read opens a connection for subs, and reads it to its end.
func (b *bench) read(ctx context.Context, subs []*subscriber, turns chan struct{}) {
	turns <- struct{}{}
	conn, err := b.dialer.dial(ctx, subs[0].kind.isLazy(), &subs[0].tally.received)
	<-turns
	if err == nil {
		b.keep(conn)
		switch subs[0].kind {
		case healthy, toggling:
		case slow:
			conn = &lazyConn{Conn: conn, subs: subs, rate: b.workload.SlowRate, done: b.state.done}
		case stuck:
			conn = &lazyConn{Conn: conn, subs: subs, done: b.state.done}
		}
		err = b.wire.subscribe(conn, subs)
	}
	for _, s := range subs {
		s.end(err)
	}
}

// keep notes a connection to be closed at the end, or now if that is over.
func (b *bench) keep(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, conn)
	if b.state.closing.Load() {
		_ = conn.Close()
	}
}

// connectPublishers opens the connections for sends. Over HTTP/1.1 each slot
// has its own.
func (b *bench) connectPublishers(ctx context.Context) error {
	connections, window := b.workload.Publishers, b.workload.Window
	if b.workload.Transport == transportHTTP1 {
		connections, window = connections*window, 1
	}
	shared := make(chan *slot, connections*window)
	for range connections {
		c := &publisherConn{free: shared}
		if b.workload.Rate == 0 {
			c.free = make(chan *slot, window)
		}
		slots := make([]*slot, window)
		for i := range slots {
			slots[i] = &slot{index: len(b.pubs.slots), conn: c}
			b.pubs.slots = append(b.pubs.slots, slots[i])
		}
		conn, err := b.dialer.dial(ctx, false, &b.tallies[0].received)
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		b.keep(conn)
		c.sender, err = b.wire.sender(conn, slots, b.pubs.done)
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		b.pubs.conns = append(b.pubs.conns, c)
		b.readers.Go(func() { b.pubs.receive(c) })
	}
	// Connection by connection, so that a rate is spread over all of them.
	for i := range window {
		for j := range connections {
			s := b.pubs.slots[j*window+i]
			s.conn.free <- s
		}
	}
	return nil
}
