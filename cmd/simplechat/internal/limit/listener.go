package limit

import (
	"net"
	"sync"
)

// Listener refuses connections beyond the limits: it closes them at once.
func (l *Limits) Listener(inner net.Listener) net.Listener {
	inner = &listener{Listener: inner, limits: l}
	if l.config.ProxyProtocol {
		return l.proxyListener(inner)
	}
	return inner
}

type listener struct {
	net.Listener

	limits *Limits
}

// Accept implements [net.Listener].
func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := addressOfConn(conn.RemoteAddr())
		name := network(address)
		hit := l.limits.connections.take(name, l.limits.perAddress(address, l.limits.config.ConnectionsPerAddress))
		if hit == none {
			return counted(conn, sync.OnceFunc(func() { l.limits.connections.give(name) })), nil
		}
		l.limits.note("connections"+string(hit), address, "")
		_ = conn.Close()
	}
}

// counted returns a connection that calls free when it is closed. A TCP connection stays a
// TCP connection, so that [net.Buffers] can write several buffers in one system call.
func counted(conn net.Conn, free func()) net.Conn {
	switch c := conn.(type) {
	case *net.TCPConn:
		return &countedTCP{c, c, free}
	case interface{ TCP() *net.TCPConn }:
		return &countedTCP{c.TCP(), conn, free}
	default:
		return &countedConn{conn, free}
	}
}

// countedTCP is a TCP connection that is counted until it is closed.
type countedTCP struct {
	*net.TCPConn

	inner net.Conn // the same connection, or one with its own Read
	free  func()
}

// Read implements [net.Conn].
func (c *countedTCP) Read(p []byte) (int, error) { return c.inner.Read(p) }

// Close implements [net.Conn].
func (c *countedTCP) Close() error {
	defer c.free()
	return c.inner.Close()
}

// countedConn is a connection that is counted until it is closed.
type countedConn struct {
	net.Conn

	free func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection so that its last response arrives.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
