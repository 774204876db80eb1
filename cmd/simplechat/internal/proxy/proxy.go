// Package proxy passes TCP connections on between the clients and the servers of a test, and
// can cut them, delay them or swallow what they carry.
package proxy

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy passes TCP connections on, and can be told to stop. It stands for an
// address that stays while the server behind it comes and goes, and for a
// network that can be cut.
type Proxy struct {
	Addr     string // HOST:PORT
	listener net.Listener
	Delay    func() time.Duration // of each piece that passes, nil: none; set before there are connections

	mu      sync.Mutex // guards all below
	backend string     // empty while there is none: connections end at once
	open    chan struct{}
	conns   map[net.Conn]struct{}
}

// New listens on a free port of loopback until the test ends.
func New(tb testing.TB, backend string) *Proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{
		Addr:     listener.Addr().String(),
		listener: listener,
		backend:  backend,
		open:     make(chan struct{}),
		conns:    map[net.Conn]struct{}{},
	}
	close(p.open)
	var serving sync.WaitGroup
	serving.Go(p.serve)
	tb.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
		p.Heal() // goroutines that wait to pass bytes on find closed connections
		p.To("")
	})
	return p
}

// URL returns the address as that of a web server.
func (p *Proxy) URL() string { return "http://" + p.Addr }

// To lets further connections lead to a backend, HOST:PORT, or to none. Those
// that there are end.
func (p *Proxy) To(backend string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = backend
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

// Refuse lets further connections end at once; those that there are stay. It is
// called before a backend dies: its port may be another server's then.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = ""
}

// Count returns the number of connections.
func (p *Proxy) Count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// Cut makes the network swallow everything, in both directions, without a word
// to either side.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // it is cut already
	}
}

// Heal ends a cut: what was swallowed arrives after all, as TCP sends it again.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *Proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(conn)
	}
}

// connect joins a connection with one to the backend.
func (p *Proxy) connect(front net.Conn) {
	backend, ok := p.add(front, "")
	if !ok {
		return
	}
	back, err := net.Dial("tcp", backend)
	if err != nil {
		_ = front.Close()
		return
	}
	if _, ok := p.add(back, backend); !ok {
		_ = front.Close()
		return
	}
	go p.pass(front, back)
	p.pass(back, front)
}

// add notes a connection, and closes it if there is no backend or no longer the
// one that it leads to.
func (p *Proxy) add(conn net.Conn, leadsTo string) (backend string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.backend == "" || leadsTo != "" && leadsTo != p.backend {
		_ = conn.Close()
		return "", false
	}
	p.conns[conn] = struct{}{}
	return p.backend, true
}

// pass passes bytes on until either connection ends, and then ends both.
func (p *Proxy) pass(from, to net.Conn) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		delete(p.conns, to)
		p.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		<-open
		if err != nil {
			return
		}
		if p.Delay != nil {
			time.Sleep(p.Delay()) // the network takes that long; nothing waits for it
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
