package bench

import (
	"context"
	"fmt"
	"net"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

const (
	// dialers is how many connections are opened at a time.
	dialers = 64
	// subscribeTime bounds the wait for all first batches.
	subscribeTime = 2 * time.Minute
)

// subscribe opens all streams, and returns when each has its first batch.
func (b *Bench) subscribe(ctx context.Context) error {
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
		b.Progress.subscribed(i+1, len(b.subs))
	}
	for _, s := range b.subs {
		if s.broken() != nil {
			return fmt.Errorf("subscribe: %w", s.broken())
		}
	}
	return nil
}

func (b *Bench) newSubscribers(l line, t *tally) []*subscriber {
	subs := make([]*subscriber, l.streams)
	slots := b.workload.Publishers * b.workload.Window
	for i := range subs {
		subs[i] = &subscriber{
			kind:    l.kind,
			run:     b.state,
			tally:   t,
			checker: newChecker(slots),
			scan:    wire.NewScanner(b.workload.Protocol),
		}
	}
	return subs
}

// read opens a connection for subs, and reads it to its end.
func (b *Bench) read(ctx context.Context, subs []*subscriber, turns chan struct{}) {
	turns <- struct{}{}
	how := wire.Reading{Small: subs[0].kind.isLazy()}
	conn, err := b.dialer.Dial(ctx, how.Small, &subs[0].tally.received)
	<-turns
	if err == nil {
		b.keep(conn)
		readers := make([]wire.Subscriber, len(subs))
		for i, s := range subs {
			readers[i] = s
		}
		switch subs[0].kind {
		case healthy:
		case toggling:
			how.Toggle = b.workload.ToggleTime
		case slow:
			conn = &lazyConn{Conn: conn, subs: subs, rate: b.workload.SlowRate, done: b.state.done}
		case stuck:
			conn = &lazyConn{Conn: conn, subs: subs, done: b.state.done}
		}
		err = b.client.Subscribe(conn, readers, how)
	}
	for _, s := range subs {
		s.End(err)
	}
}

// keep adds a connection that is closed when the run ends. If the run has ended, it
// closes the connection now.
func (b *Bench) keep(conn net.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conns = append(b.conns, conn)
	if b.state.closing.Load() {
		_ = conn.Close()
	}
}

// connectPublishers opens the connections for sends. Over HTTP/1.1 each slot
// has its own.
func (b *Bench) connectPublishers(ctx context.Context) error {
	connections, window := b.workload.Publishers, b.workload.Window
	if b.workload.Transport == wire.HTTP1 {
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
			slots[i] = &slot{index: len(b.pubs.slots), place: i, conn: c}
			b.pubs.slots = append(b.pubs.slots, slots[i])
		}
		conn, err := b.dialer.Dial(ctx, false, &b.tallies[0].received)
		if err != nil {
			return fmt.Errorf("publisher: %w", err)
		}
		b.keep(conn)
		c.sender, err = b.client.Sender(conn, window, func(place int, err error) { b.pubs.done(slots[place], err) })
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
