package chatclient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// Replicas that go away one after the other, and come back, are no end of the
// conversation.
func TestReplicasInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		log := chatsvc.NewMemoryLog(chatsvc.DefaultRetention())
		stop := make(map[string]func())
		for _, name := range []string{"a", "b", "c"} {
			stop[name] = n.serveChat(t, name, chatsvc.WithLog(log))
		}
		client := n.client(t, "http://a,http://b,http://c")
		var got []string
		err := client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
			got = append(got, contents([]chatclient.Event{e})...)
			switch e.Offset {
			case 1:
				if e.Message == nil {
					sendAll(ctx, t, client, "from a")
					return nil
				}
				stop["a"]()
			case 2:
				if e.Message == nil {
					sendAll(ctx, t, client, "from b")
					return nil
				}
				stop["b"]()
				stop["a"] = n.serveChat(t, "a", chatsvc.WithLog(log))
			case 3:
				if e.Message == nil {
					sendAll(ctx, t, client, "from c")
					return nil
				}
				stop["c"]()
			case 4:
				return errEnough
			}
			return nil
		})
		want := []string{"open 1 lost 0", "1:from a", "open 2 lost 0", "2:from b", "open 3 lost 0", "3:from c", "open 4 lost 0"}
		if !errors.Is(err, errEnough) || !slices.Equal(got, want) {
			t.Errorf("told %q, %q was due: %v", got, want, err)
		}
	})
}

// brittleConn is a connection that breaks after so many bytes, in whichever
// direction.
type brittleConn struct {
	net.Conn

	left atomic.Int64
}

func (c *brittleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	return c.spend(n, err)
}

func (c *brittleConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	return c.spend(n, err)
}

func (c *brittleConn) spend(n int, err error) (int, error) {
	if c.left.Add(-int64(n)) < 0 {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// Over connections that break at any byte, to replicas that restart at any
// time, each message is stored once, and each follower gets each record once,
// in one order.
func TestExactlyOnce(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			forEachProtocol(t, func(t *testing.T, protocol chatclient.Protocol) { testExactlyOnce(t, protocol, seed) })
		})
	}
}

func testExactlyOnce(t *testing.T, protocol chatclient.Protocol, seed uint64) {
	const senders, each, followers = 3, 40, 3
	ctx := chattest.Context(t, patience)
	n := newNetwork()
	var mu sync.Mutex // guards random
	random := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int64) int64 {
		mu.Lock()
		defer mu.Unlock()
		return random.Int64N(n)
	}
	n.wrap = func(c net.Conn) net.Conn {
		brittle := &brittleConn{Conn: c}
		brittle.left.Store(500 + draw(5_000))
		return brittle
	}
	log := chatsvc.NewMemoryLog(chatsvc.Retention{})
	replicas, stopReplicas := context.WithCancel(ctx)
	var running sync.WaitGroup
	for _, name := range []string{"a", "b"} {
		stop := n.serveChat(t, name, chatsvc.WithLog(log))
		running.Go(func() {
			for replicas.Err() == nil {
				time.Sleep(time.Duration(draw(int64(10 * time.Second))))
				stop()
				stop = n.serveChat(t, name, chatsvc.WithLog(log))
			}
		})
	}
	urls := []string{"http://a,http://b", "http://b,http://a"}

	var sent sync.Map // offset to content
	var sending sync.WaitGroup
	for s := range senders {
		sending.Go(func() {
			client := n.client(t, urls[s%2], chatclient.WithProtocol(protocol))
			for i := range each {
				content := fmt.Sprint(s, " ", i)
				got, err := client.SendText(ctx, content)
				if err != nil {
					t.Errorf("send: %v", err)
				}
				if other, taken := sent.Swap(got.Offset, content); taken {
					t.Errorf("%q and %q are both at offset %d", content, other, got.Offset)
				}
				time.Sleep(time.Duration(draw(int64(time.Second))))
			}
		})
	}
	seen := make([][]string, followers)
	var following sync.WaitGroup
	for i := range followers {
		following.Go(func() {
			client := n.client(t, urls[i%2], chatclient.WithProtocol(protocol))
			events := follow(ctx, t, client, chatclient.All(), senders*each)
			for _, e := range records(events) {
				if want := uint64(len(seen[i]) + 1); e.Offset != want {
					t.Errorf("offset %d where %d was due", e.Offset, want)
				}
				seen[i] = append(seen[i], string(e.Message.GetContent()))
			}
		})
	}
	sending.Wait()
	following.Wait()
	stopReplicas()
	running.Wait()
	if state, err := log.State(ctx); err != nil || state.Next != senders*each+1 {
		t.Errorf("%d messages are stored as %+v, %v", senders*each, state, err)
	}
	for i := range followers {
		for j, content := range seen[i] {
			if want, _ := sent.Load(uint64(j + 1)); content != want {
				t.Errorf("follower %d: %q at offset %d, where %q was sent", i, content, j+1, want)
			}
		}
	}
}

// frozenConn is a connection that carries nothing more once it is frozen, and
// tells neither side.
type frozenConn struct {
	net.Conn

	frozen, closed chan struct{}
	close          func()
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.frozen:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return n, err
	}
}

func (c *frozenConn) Write(p []byte) (int, error) {
	select {
	case <-c.frozen:
		return len(p), nil // to nowhere
	default:
		return c.Conn.Write(p)
	}
}

func (c *frozenConn) Close() error {
	c.close()
	return c.Conn.Close()
}

// Follow and Send give up a dead connection, although nobody has closed it.
func TestDeadConnection(t *testing.T) {
	t.Parallel()
	forEachProtocol(t, func(t *testing.T, protocol chatclient.Protocol) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat")
		frozen := make(chan struct{})
		n.wrap = func(c net.Conn) net.Conn {
			select {
			case <-frozen:
				return c
			default:
				closed := make(chan struct{})
				return &frozenConn{Conn: c, frozen: frozen, closed: closed, close: sync.OnceFunc(func() { close(closed) })}
			}
		}
		client := n.client(t, "http://chat", chatclient.WithProtocol(protocol))
		var got []string
		err := client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
			got = append(got, contents([]chatclient.Event{e})...)
			switch {
			case len(got) == 1:
				sendAll(ctx, t, client, "one")
			case len(got) == 2:
				close(frozen)
				go func() { _, _ = client.SendText(ctx, "two") }()
			case e.Message != nil:
				return errEnough
			}
			return nil
		})
		want := []string{"open 1 lost 0", "1:one", "open 2 lost 0", "2:two"}
		if !errors.Is(err, errEnough) || !slices.Equal(got, want) {
			t.Errorf("told %q, %q was due: %v", got, want, err)
		}
	})
}
