package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// h1Client is a dialect over HTTP/1.1.
type h1Client struct {
	dialect dialect
	list    string // the head of a request, up to Content-Length's value
	send    string
}

// requestHead returns the head of a POST, up to Content-Length's value.
func requestHead(host, path string, fields [][2]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\n", path, host)
	for _, f := range fields {
		fmt.Fprintf(&b, "%s: %s\r\n", f[0], f[1])
	}
	b.WriteString("Content-Length: ")
	return b.String()
}

// appendRequest appends a request.
func appendRequest(b []byte, head string, body []byte) []byte {
	b = append(b, head...)
	b = strconv.AppendInt(b, int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, body...)
}

// Subscribe implements [Client].
func (w h1Client) Subscribe(conn net.Conn, subs []Subscriber, _ Reading) error {
	s := subs[0]
	if _, err := conn.Write(appendRequest(nil, w.list, w.dialect.listBody())); err != nil {
		return err
	}
	r := newReader(conn)
	a, length, err := readHead(r)
	if err == nil {
		err = w.dialect.checkStream(a)
	}
	if err != nil {
		return err
	}
	if err := readBody(r, length, s.Feed); err != nil {
		return err
	}
	s.End(nil)
	return nil
}

// h1Sender sends over one HTTP/1.1 connection, one message at a time, without pipelining.
type h1Sender struct {
	wire   h1Client
	conn   net.Conn
	flight chan int // the slot whose message is in flight
	done   func(int, error)
	body   []byte
	out    []byte
}

// Sender implements [Client].
func (w h1Client) Sender(conn net.Conn, _ int, done func(int, error)) (Sender, error) {
	return &h1Sender{wire: w, conn: conn, flight: make(chan int, 1), done: done}, nil
}

// Send implements [Sender].
func (s *h1Sender) Send(slot int, content []byte) error {
	s.flight <- slot
	s.body = s.wire.dialect.appendSend(s.body[:0], content)
	s.out = appendRequest(s.out, s.wire.send, s.body)
	return nil
}

// Flush implements [Sender].
func (s *h1Sender) Flush() error {
	if len(s.out) == 0 {
		return nil
	}
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}

// Receive implements [Sender].
func (s *h1Sender) Receive() error {
	r := newReader(s.conn)
	for {
		a, length, err := readHead(r)
		if err != nil {
			return err
		}
		err = readBody(r, length, func(p []byte) error {
			a.body = append(a.body, p...)
			return nil
		})
		if err != nil {
			return err
		}
		s.done(<-s.flight, s.wire.dialect.check(a))
	}
}

// chunked is the length of a body in chunks.
const chunked = -1

var errHTTP = errors.New("not an HTTP/1.1 response")

// readHead reads the head of a response, and returns the length of its body.
func readHead(r *bufio.Reader) (a answer, length int, err error) {
	line, err := readLine(r)
	if err != nil {
		return answer{}, 0, err
	}
	if len(line) < len("HTTP/1.1 200") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return answer{}, 0, fmt.Errorf("%w: %q", errHTTP, line)
	}
	a.status = "200"
	if status := line[len("HTTP/1.1 "):]; string(status[:3]) != a.status {
		a.status = string(status)
	}
	for {
		line, err := readLine(r)
		if err != nil || len(line) == 0 {
			return a, length, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return a, 0, fmt.Errorf("%w: %q", errHTTP, line)
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			length = chunked
		case bytes.EqualFold(name, []byte("Grpc-Status")):
			a.grpcStatus = string(value)
		case bytes.EqualFold(name, []byte("Grpc-Message")):
			a.grpcMessage = string(value)
		}
	}
}

// readBody hands a body to feed, piece by piece, out of the reader's buffer.
func readBody(r *bufio.Reader, length int, feed func([]byte) error) error {
	if length != chunked {
		return readPart(r, length, feed)
	}
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return fmt.Errorf("%w: chunk of %q bytes", errHTTP, line)
		}
		if n > 0 {
			if err := readPart(r, int(n), feed); err != nil {
				return err
			}
		}
		// The line end behind the chunk, or no trailers.
		if line, err = readLine(r); err != nil {
			return err
		}
		if len(line) > 0 {
			return fmt.Errorf("%w: %q behind a chunk", errHTTP, line)
		}
		if n == 0 {
			return nil
		}
	}
}

// readPart hands n bytes to feed.
func readPart(r *bufio.Reader, n int, feed func([]byte) error) error {
	for n > 0 {
		if _, err := r.Peek(1); err != nil { // fills the buffer if it is empty
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		p, err := r.Peek(min(n, r.Buffered()))
		if err != nil {
			return err
		}
		if err := feed(p); err != nil {
			return err
		}
		n -= len(p)
		if _, err := r.Discard(len(p)); err != nil {
			return err
		}
	}
	return nil
}

// readLine reads a line, and returns it without its end. It is valid until the
// next read.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte{'\r'}), nil
}
