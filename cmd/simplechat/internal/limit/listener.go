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
		if l.limits.connections.take(name, l.limits.perAddress(address, l.limits.config.ConnectionsPerAddress)) {
			return &countedConn{Conn: conn, free: sync.OnceFunc(func() { l.limits.connections.give(name) })}, nil
		}
		l.limits.note("connections", address, "")
		_ = conn.Close()
	}
}

// countedConn is a connection that counts until it is closed.
type countedConn struct {
	net.Conn

	free func()
}

// Close implements [net.Conn].
func (c *countedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite lets net/http end a connection so that its last answer arrives.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
