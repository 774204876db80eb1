package main

import (
	"net"
	"sync"
	"testing"
	"time"
)

// proxy passes TCP connections on, and can be told to stop. It stands for an
// address that stays while the server behind it comes and goes, and for a
// network that can be cut.
type proxy struct {
	addr     string // HOST:PORT
	listener net.Listener
	delay    func() time.Duration // of each piece that passes, nil: none; set before there are connections

	mu      sync.Mutex // guards all below
	backend string     // empty while there is none: connections end at once
	open    chan struct{}
	conns   map[net.Conn]struct{}
}

// newProxy listens on a free port of loopback until the test ends.
func newProxy(tb testing.TB, backend string) *proxy {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{
		addr:     listener.Addr().String(),
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
		p.heal() // who waits to pass bytes on finds closed connections
		p.to("")
	})
	return p
}

// url returns the address as that of a web server.
func (p *proxy) url() string { return "http://" + p.addr }

// to lets further connections lead to a backend, HOST:PORT, or to none. Those
// that there are end.
func (p *proxy) to(backend string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = backend
	for conn := range p.conns {
		_ = conn.Close()
	}
	clear(p.conns)
}

// refuse lets further connections end at once; those that there are stay. It is
// called before a backend dies: its port may be another server's then.
func (p *proxy) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.backend = ""
}

// count returns the number of connections.
func (p *proxy) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.conns)
}

// cut makes the network swallow everything, in both directions, without a word
// to either side.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // it is cut already
	}
}

// heal ends a cut: what was swallowed arrives after all, as TCP sends it again.
func (p *proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

func (p *proxy) serve() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.connect(conn)
	}
}

// connect joins a connection with one to the backend.
func (p *proxy) connect(front net.Conn) {
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
func (p *proxy) add(conn net.Conn, leadsTo string) (backend string, ok bool) {
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
func (p *proxy) pass(from, to net.Conn) {
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
		if p.delay != nil {
			time.Sleep(p.delay()) // the network takes that long; nothing waits for it
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
