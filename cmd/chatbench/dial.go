package main

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
	// smallBuffer is the receive buffer of a slow or stuck connection in bytes:
	// with the default, megabytes would pass before the server noticed.
	smallBuffer = 16 << 10
)

// dialer opens connections to the server.
type dialer struct {
	addr   string
	tls    bool
	opened atomic.Int64
}

// dial opens a connection, and counts what it receives in received. Those that
// are small have a small receive buffer.
func (d *dialer) dial(ctx context.Context, small bool, received *atomic.Int64) (net.Conn, error) {
	n := d.opened.Add(1) - 1
	conn, err := (&net.Dialer{Timeout: dialTime, LocalAddr: d.source(int(n))}).DialContext(ctx, "tcp", d.addr)
	if err != nil {
		return nil, fmt.Errorf("connection %d: %w", n+1, err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && small {
		_ = tcp.SetReadBuffer(smallBuffer) // without it, the server notices later
	}
	conn = &meteredConn{conn, received}
	if !d.tls {
		return conn, nil
	}
	secure := tls.Client(conn, &tls.Config{
		InsecureSkipVerify: true, //nolint:gosec // who measures knows the server, and a test certificate is usual
		NextProtos:         []string{"h2"},
	})
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", d.addr, err)
	}
	return secure, nil
}

// source returns the address that connection n leaves from: on loopback, where
// all of 127.0.0.0/8 is ours, another one when the ports of one are used up.
func (d *dialer) source(n int) net.Addr {
	host, _, err := net.SplitHostPort(d.addr)
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

// lazyConn is the connection of subscribers that are slow or stuck, once all of
// them have their first batch.
type lazyConn struct {
	net.Conn

	subs []*subscriber
	rate int // bytes a second; 0: it reads nothing more
	done <-chan struct{}
	woke bool
}

// lazyTick is the time between two reads of a slow connection.
const lazyTick = 50 * time.Millisecond

// Read implements [net.Conn].
func (c *lazyConn) Read(p []byte) (int, error) {
	if !c.woke {
		for _, s := range c.subs {
			if !s.ready.Load() {
				return c.Conn.Read(p)
			}
		}
		c.woke = true
	}
	if c.rate == 0 {
		<-c.done
		return 0, net.ErrClosed
	}
	select {
	case <-c.done:
		return 0, net.ErrClosed
	case <-time.After(lazyTick):
	}
	most := max(1, c.rate*int(lazyTick)/int(time.Second))
	return c.Conn.Read(p[:min(len(p), most)])
}
