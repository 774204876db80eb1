package limit

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"

	proxyproto "github.com/pires/go-proxyproto"
)

// errTooMany ends a connection from a proxy whose client has too many connections.
var errTooMany = errors.New("the address has too many connections")

// proxyListener reads the client's address from the header of the PROXY protocol (version 1
// or 2), with which each connection from a trusted proxy must begin, and limits the
// connections of that address. Other connections are unchanged; their headers are
// not trusted. The first Read reads the header, so Accept does not wait for it.
func (l *Limits) proxyListener(inner net.Listener) net.Listener {
	return &proxyListener{
		Listener: &proxyproto.Listener{
			Listener: inner,
			ConnPolicy: func(o proxyproto.ConnPolicyOptions) (proxyproto.Policy, error) {
				if l.isTrusted(addressOfConn(o.Upstream)) {
					return proxyproto.REQUIRE, nil
				}
				return proxyproto.SKIP, nil
			},
		},
		limits: l,
	}
}

type proxyListener struct {
	net.Listener

	limits *Limits
}

// Accept implements [net.Listener].
func (l *proxyListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if proxied, ok := conn.(*proxyproto.Conn); ok {
		return &proxiedConn{Conn: proxied, limits: l.limits}, nil
	}
	return conn, nil
}

// proxiedConn is a connection from a proxy. It is counted for its client from the first
// Read until it is closed.
type proxiedConn struct {
	*proxyproto.Conn

	limits *Limits
	begin  sync.Once
	err    error // why the connection is refused; nil if it is not

	mu     sync.Mutex // guards all below
	closed bool
	free   func() // nil if it is not counted
}

// Read implements [net.Conn].
func (c *proxiedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.begin.Do(func() { c.err = c.admit(err) })
	if c.err != nil {
		return 0, c.err
	}
	return n, err
}

// admit counts the connection for its client after the first read, which has returned err.
func (c *proxiedConn) admit(err error) error {
	proxy := addressOfConn(c.Raw().RemoteAddr())
	if err != nil {
		if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			c.limits.note("PROXY headers", proxy, "")
		}
		return fmt.Errorf("the PROXY protocol's header: %w", err)
	}
	client := addressOfConn(c.RemoteAddr())
	if client == proxy { // the proxy itself is the client
		return nil
	}
	name := network(client)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if hit := c.limits.proxied.take(name, c.limits.perAddress(client, c.limits.config.ConnectionsPerAddress)); hit != none {
		c.limits.note("connections"+string(hit), client, "")
		return errTooMany
	}
	c.free = func() { c.limits.proxied.give(name) }
	return nil
}

// Close implements [net.Conn].
func (c *proxiedConn) Close() error {
	c.mu.Lock()
	free := c.free
	c.closed, c.free = true, nil
	c.mu.Unlock()
	if free != nil {
		free()
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection so that its last response arrives.
func (c *proxiedConn) CloseWrite() error {
	if half, ok := c.Raw().(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// addressOfConn returns the IP address in a TCP address, or the zero value.
func addressOfConn(a net.Addr) netip.Addr {
	peer, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}
