package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"example.com/simplechat/cmd/simplechat/internal/limit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

func TestEveryReadSetsQuickACK(t *testing.T) {
	t.Parallel()
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := quickACK(plain)
	defer func() { _ = l.Close() }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	for range 3 {
		// As the kernel does when data goes both ways.
		control(t, conn, func(fd int) error {
			return syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 0)
		})
		if got := quickACKOf(t, conn); got != 0 {
			t.Fatalf("TCP_QUICKACK = %d after it was cleared: the test shows nothing", got)
		}
		if _, err := client.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Fatalf("read %d bytes, %v", n, err)
		}
		if got := quickACKOf(t, conn); got != 1 {
			t.Errorf("TCP_QUICKACK = %d after a read", got)
		}
	}
}

// quickACKOf returns the value of TCP_QUICKACK.
func quickACKOf(tb testing.TB, conn net.Conn) int {
	tb.Helper()
	var value int
	control(tb, conn, func(fd int) (err error) {
		value, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK)
		return err
	})
	return value
}

// control calls do with the connection's descriptor.
func control(tb testing.TB, conn net.Conn, do func(fd int) error) {
	tb.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil || failed != nil {
		tb.Fatal(err, failed)
	}
}

// Qt 6.5 and 6.6 leave Nagle's algorithm on and write HEADERS and DATA apart.
func TestHeadersAndDataApartWithNagle(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if err := conn.(*net.TCPConn).SetNoDelay(false); err != nil {
		t.Fatal(err)
	}
	write(t, conn, []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
	write(t, conn, frame(frameSettings, 0, 0, []byte{0, 1, 0, 0, 0, 0})) // no header table: each block stands alone
	const endStream, endHeaders = 0x1, 0x4
	for stream := uint32(1); stream < 20; stream += 2 {
		write(t, conn, frame(frameHeaders, endHeaders, stream, requestHeaders(p.addr)))
		write(t, conn, frame(frameData, endStream, stream, []byte{0, 0, 0, 0, 4, 0x12, 0x02, 'h', 'i'}))
		if status := grpcStatus(t, conn, stream); status != "0" {
			t.Errorf("grpc-status of stream %d: %q", stream, status)
		}
	}
}

// HTTP/2 frame types (RFC 9113, section 6).
const (
	frameData     = 0x0
	frameHeaders  = 0x1
	frameSettings = 0x4
)

// frame returns an HTTP/2 frame.
func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	b = binary.BigEndian.AppendUint32(append(b, flags), stream)
	return append(b, payload...)
}

// write sends b in a write of its own.
func write(tb testing.TB, conn net.Conn, b []byte) {
	tb.Helper()
	if _, err := conn.Write(b); err != nil {
		tb.Fatal(err)
	}
}

// requestHeaders returns the header block of a sendMessage call as Qt makes it.
func requestHeaders(addr string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", chatconnect.SimpleChatSendMessageProcedure},
		{":authority", addr},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"grpc-accept-encoding", "identity,deflate,gzip"},
		{"user-name", "user1"},
		{"user-password", "qwerty"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // a buffer takes all
	}
	return block.Bytes()
}

// grpcStatus reads frames until stream has ended, and returns its grpc-status.
func grpcStatus(tb testing.TB, conn net.Conn, stream uint32) string {
	tb.Helper()
	var status string
	decoder := hpack.NewDecoder(0, func(f hpack.HeaderField) {
		if f.Name == "grpc-status" {
			status = f.Value
		}
	})
	for {
		head := make([]byte, 9)
		if _, err := io.ReadFull(conn, head); err != nil {
			tb.Fatal(err)
		}
		payload := make([]byte, binary.BigEndian.Uint32(head)>>8)
		if _, err := io.ReadFull(conn, payload); err != nil {
			tb.Fatal(err)
		}
		if head[3] == frameHeaders {
			if _, err := decoder.Write(payload); err != nil {
				tb.Fatal(err)
			}
		}
		if binary.BigEndian.Uint32(head[5:]) == stream && head[3] <= frameHeaders && head[4]&1 != 0 {
			return status
		}
	}
}

// A connection that is counted and acknowledges at once still takes several buffers
// by one call of the system, as h2 asks for.
func TestConnectionsStayTCP(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := limit.New(limit.Config{}).Listener(quickACK(inner))
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, ok := conn.(interface{ MultipathTCP() (bool, error) }); !ok {
		t.Errorf("a connection is a %T", conn)
	}
}
