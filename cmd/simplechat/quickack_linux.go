package main

import (
	"net"
	"syscall"
)

// quickACK makes accepted connections acknowledge at once. Qt 6.5 and 6.6 use
// Nagle's algorithm and write the HEADERS and DATA of a request separately: the second
// write waits for the acknowledgement of the first, which Linux delays by 40 ms. The
// kernel resets the option by itself (tcp(7), TCP_QUICKACK), so every read sets
// it again.
func quickACK(l net.Listener) net.Listener { return quickACKListener{l} }

type quickACKListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l quickACKListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn, nil //nolint:nilerr // the connection works without the option
	}
	return &quickACKConn{TCPConn: tcp, raw: raw}, nil
}

type quickACKConn struct {
	*net.TCPConn

	raw syscall.RawConn
}

// TCP returns the connection as it was accepted.
func (c *quickACKConn) TCP() *net.TCPConn { return c.TCPConn }

// Read implements [net.Conn].
func (c *quickACKConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		_ = c.raw.Control(setQuickACK) // an error of the connection appears at the next read too
	}
	return n, err
}

func setQuickACK(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1)
}
