package crowd

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// client is one of a crowd. Only the goroutine that reads its connection changes it.
type client struct {
	crowd  *Crowd
	speech Speech
	scan   wire.Scanner // of the connection
	conn   net.Conn

	next             atomic.Uint64 // number of the next message
	got, lost, twice atomic.Int64
	counted          bool          // the client has sent its value to ready
	due              uint64        // number of messages that were acknowledged before the connection
	began            time.Duration // when the connection began, since the crowd's base
	caught           bool          // the connection has delivered all messages below due
	back             int64         // the mark after which the client was counted as back
	ended            error         // why the server ended the stream
}

var (
	_ wire.Subscriber = (*client)(nil)
	_ wire.Sink       = (*client)(nil)
)

var errStreamEnded = errors.New("the server ended the stream")

// retryTime is the longest wait before the next attempt to reach a server.
const retryTime = 200 * time.Millisecond

// run connects again and again until ctx is done.
func (c *client) run(ctx context.Context) {
	config := c.crowd.config
	for first := true; ctx.Err() == nil; first = false {
		life := time.Duration(0)
		if config.Every > 0 {
			if life = config.life(); first {
				life = 1 + rand.N(config.Every) //nolint:gosec // it spreads load
			}
		}
		wait := retryTime
		if cut := c.connect(ctx, life); cut {
			wait = config.Offline
		}
		select {
		case <-time.After(rand.N(wait + 1)): //nolint:gosec // it spreads load
		case <-ctx.Done():
		}
	}
}

// connect reads one connection to its end, and reports whether it was cut here. It
// is cut after its life, unless that is 0, or when ctx is done.
func (c *client) connect(ctx context.Context, life time.Duration) (cut bool) {
	c.crowd.turns <- struct{}{}
	c.due = c.crowd.stored.Load()
	c.began, c.caught, c.ended = time.Since(c.crowd.base), false, nil
	var received atomic.Int64
	conn, err := c.crowd.dialer.Dial(ctx, false, &received)
	<-c.crowd.turns
	if err != nil {
		if ctx.Err() == nil {
			c.crowd.broke(errors.Unwrap(err))
		}
		return false
	}
	if conn.LocalAddr().String() == conn.RemoteAddr().String() { // no server listens, and the kernel has connected the port to itself
		_ = conn.Close()
		return false
	}
	c.conn = conn
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var isCut atomic.Bool
	if life > 0 {
		defer time.AfterFunc(life, func() {
			isCut.Store(true)
			_ = conn.Close()
		}).Stop()
	}
	err = c.read(conn)
	_ = conn.Close()
	switch {
	case isCut.Load():
		c.crowd.cuts.Add(1)
		return true
	case ctx.Err() == nil:
		c.crowd.broke(errors.Join(err, c.ended))
	}
	return false
}

// read opens the stream, and reads until it ends.
func (c *client) read(conn net.Conn) error {
	config := c.crowd.config
	offset := uint64(0)
	if config.Resume {
		offset = c.next.Load() + 1
	}
	c.scan = wire.NewScanner(c.speech.Protocol)
	return wire.New(wire.Call{
		Protocol: c.speech.Protocol, Transport: c.speech.Transport, Addr: config.Addr,
		User: config.User, Password: config.Password, History: wire.HistoryEnd, Offset: offset,
	}).Subscribe(conn, []wire.Subscriber{c}, wire.Reading{})
}

// Feed implements [wire.Subscriber].
func (c *client) Feed(piece []byte) error {
	return c.scan.Scan(c, piece)
}

// Message implements [wire.Sink].
func (c *client) Message(content []byte) {
	n, err := number(content)
	next := c.next.Load()
	switch {
	case err != nil:
		return // another sender's
	case n < next:
		c.twice.Add(1)
		return
	}
	c.lost.Add(int64(n - next))
	c.got.Add(1)
	c.next.Store(n + 1)
}

// Batch implements [wire.Sink].
func (c *client) Batch() {
	if !c.counted {
		c.counted = true
		c.crowd.ready <- struct{}{}
	}
	mark := c.crowd.marked.Load()
	isBack := mark > c.back && int64(c.began) > mark
	caught := !c.caught && c.crowd.config.Resume && c.next.Load() >= c.due
	if !isBack && !caught {
		return
	}
	now := time.Since(c.crowd.base)
	c.crowd.mu.Lock()
	defer c.crowd.mu.Unlock()
	if caught {
		c.caught = true
		c.crowd.caught = append(c.crowd.caught, now-c.began)
	}
	if isBack {
		c.back = mark
		c.crowd.back = append(c.crowd.back, now-time.Duration(mark))
	}
}

// End implements [wire.Subscriber] and [wire.Sink]. It ends the connection, on which the
// server waits for another call.
func (c *client) End(err error) {
	_ = c.conn.Close()
	if c.ended == nil {
		c.ended = errors.Join(errStreamEnded, err)
	}
}
