package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"time"
)

// serverWindow is how many bytes wait for a client that does not read before its
// server's writes wait, as with TCP.
const serverWindow = 16 << 10

// network connects clients and servers. It is safe for concurrent use.
type network struct {
	mu    sync.Mutex // guards all below
	rng   *rand.Rand
	hosts map[string]*listener
	links []*link // connections, the oldest first; also those that have ended
	delay time.Duration
	// breakAfter are the bytes that a server can write to each of the next connections.
	breakAfter []int
}

// link is one connection.
type link struct {
	host string
	up   *half // to the server
	down *half // to the client
}

// listener is where a server listens.
type listener struct {
	accept chan net.Conn
	down   chan struct{} // closed when nobody listens any more
	once   sync.Once
}

func newNetwork(rng *rand.Rand) *network {
	return &network{rng: rng, hosts: make(map[string]*listener)}
}

// listen makes a host that can be dialled. It takes the place of the one before.
func (n *network) listen(name string) *listener {
	l := &listener{accept: make(chan net.Conn), down: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts[name+":80"] = l
	return l
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.down:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *listener) Close() error {
	l.once.Do(func() { close(l.down) })
	return nil
}

// Addr implements [net.Listener].
func (*listener) Addr() net.Addr { return addr("memory") }

// dialer returns a function that dials as a client with an address.
func (n *network) dialer(client string) func(ctx context.Context, network, host string) (net.Conn, error) {
	return func(ctx context.Context, _, host string) (net.Conn, error) {
		refused := &net.OpError{Op: "dial", Net: "memory", Err: syscall.ECONNREFUSED}
		n.mu.Lock()
		l, ok := n.hosts[host]
		n.mu.Unlock()
		if !ok {
			return nil, refused
		}
		ours, theirs := n.connect(client, host)
		select {
		case l.accept <- theirs:
			return ours, nil
		case <-l.down:
			_ = ours.Close()
			return nil, refused
		case <-ctx.Done():
			_ = ours.Close()
			return nil, ctx.Err()
		}
	}
}

// connect returns the ends of a new connection.
func (n *network) connect(client, host string) (ours, theirs net.Conn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &link{host: host, up: newHalf(0, n.nextDelay), down: newHalf(serverWindow, n.nextDelay)}
	if len(n.breakAfter) > 0 {
		l.down.left, n.breakAfter = n.breakAfter[0], n.breakAfter[1:]
		l.down.onBreak = l.breakSoon
	}
	n.links = append(n.links, l)
	local, remote := addr(fmt.Sprintf("%s:%d", client, 1024+len(n.links))), addr(host)
	return &conn{in: l.down, out: l.up, local: local, remote: remote},
		&conn{in: l.up, out: l.down, local: remote, remote: local}
}

// nextDelay returns the delay of the next write: zero unless a step has set one.
func (n *network) nextDelay() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.delay == 0 {
		return 0
	}
	return time.Duration(n.rng.Int64N(int64(n.delay)))
}

func (n *network) setDelay(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// breakNext breaks the next connections after so many bytes from the server.
func (n *network) breakNext(after ...int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.breakAfter = append(n.breakAfter, after...)
}

// open returns the connections that can be used, to one host or, if it is empty, to all.
func (n *network) open(host string) []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	var open []*link
	for _, l := range n.links {
		if (host == "" || l.host == host+":80") && l.isOpen() {
			open = append(open, l)
		}
	}
	return open
}

func (l *link) isOpen() (open bool) {
	l.up.change(func() { open = l.up.err == nil && !l.up.closed })
	return open
}

// cut breaks both directions at once: bytes on their way are lost.
func (l *link) cut() {
	for _, h := range []*half{l.up, l.down} {
		h.change(func() { h.err = syscall.ECONNRESET })
	}
}

// breakSoon breaks the connection when the client has read all that was written.
func (l *link) breakSoon() {
	l.up.change(func() { l.up.err = syscall.ECONNRESET })
	l.down.change(func() { l.down.closed = true })
}

// heal ends all that steps have done to the network, apart from lost bytes: the peer that
// waits for them must notice by itself.
func (n *network) heal() {
	n.mu.Lock()
	n.delay, n.breakAfter = 0, nil
	links := n.links
	n.mu.Unlock()
	for _, l := range links {
		for _, h := range []*half{l.up, l.down} {
			h.change(func() { h.stalled, h.left = false, -1 })
		}
	}
}
