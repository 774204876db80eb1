package wire

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"time"
)

const (
	// dialTime bounds the opening of one connection.
	dialTime = 30 * time.Second
	// portsPerSource is how many connections leave from one source address: a
	// bit less than Linux has ephemeral ports.
	portsPerSource = 20_000
	// smallBuffer is the receive buffer of a slow or stuck connection in bytes. With the
	// default size, the server would notice only after megabytes.
	smallBuffer = 16 << 10
)

// Dialer opens connections to a server. It is safe for concurrent use.
type Dialer struct {
	Addr string // HOST:PORT
	TLS  bool   // with HTTP/2 over it; the certificate is not checked

	opened atomic.Int64
}

// Dial opens a connection, and counts the bytes that it receives in received.
// A small one has a small receive buffer.
func (d *Dialer) Dial(ctx context.Context, small bool, received *atomic.Int64) (net.Conn, error) {
	n := d.opened.Add(1) - 1
	conn, err := (&net.Dialer{Timeout: dialTime, LocalAddr: d.source(int(n))}).DialContext(ctx, "tcp", d.Addr)
	if err != nil {
		return nil, fmt.Errorf("connection %d: %w", n+1, err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && small {
		_ = tcp.SetReadBuffer(smallBuffer) // without it, the server notices later
	}
	conn = &meteredConn{conn, received}
	if !d.TLS {
		return conn, nil
	}
	secure := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // the user knows the server, and a test certificate is usual
		NextProtos:         []string{"h2"},
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", d.Addr, err)
	}
	return secure, nil
}

// source returns the source address of connection n. On loopback, where all of
// 127.0.0.0/8 can be used, it is another address when the ports of one are used up.
func (d *Dialer) source(n int) net.Addr {
	host, _, err := net.SplitHostPort(d.Addr)
	if err != nil || n < portsPerSource {
		return nil
	}
	if ip := net.ParseIP(host).To4(); ip == nil || !ip.IsLoopback() {
		return nil
	}
	n /= portsPerSource
	return &net.TCPAddr{IP: net.IPv4(127, 0, byte(1+n>>8), byte(n))}
}

// meteredConn counts the bytes that it receives.
type meteredConn struct {
	net.Conn

	received *atomic.Int64
}

// Read implements [net.Conn].
func (c *meteredConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	return n, err
}
