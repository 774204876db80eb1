package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"strconv"
	"sync"
)

// natsSubject is the subject of the messages.
const natsSubject = "chat"

// Either side sends a PING to see whether the other one answers.
const (
	natsPing = "PING"
	natsPong = "PONG"
)

// natsClient is the text protocol of core NATS. A message is its content alone.
type natsClient struct{ user, password string }

// connect reads the server's INFO, and logs in.
func (w natsClient) connect(conn net.Conn) (*bufio.Reader, error) {
	r := newReader(conn)
	if _, err := readLine(r); err != nil {
		return nil, err
	}
	_, err := fmt.Fprintf(conn, `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"lang":"go","version":"0","user":%q,"pass":%q}`+"\r\nPING\r\n", w.user, w.password)
	if err != nil {
		return nil, err
	}
	line, err := readLine(r)
	if err == nil && string(line) != natsPong {
		err = fmt.Errorf("NATS: %s", line)
	}
	return r, err
}

// Subscribe implements [Client].
func (w natsClient) Subscribe(conn net.Conn, subs []Subscriber, _ Reading) error {
	s := subs[0]
	r, err := w.connect(conn)
	if err != nil {
		return err
	}
	if _, err := conn.Write([]byte("SUB " + natsSubject + " 1\r\nPING\r\n")); err != nil {
		return err
	}
	for {
		line, err := readLine(r)
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			err = natsMessage(r, line, s)
		case string(line) == natsPong:
			err = s.Feed(nil)
		case string(line) == natsPing:
			_, err = conn.Write([]byte("PONG\r\n"))
		case bytes.HasPrefix(line, []byte("-ERR")):
			err = fmt.Errorf("NATS: %s", line)
		}
		if err != nil {
			return err
		}
	}
}

// natsMessage reads the payload that the line "MSG subject sid length"
// announces.
func natsMessage(r *bufio.Reader, line []byte, s Subscriber) error {
	n, err := strconv.Atoi(string(line[bytes.LastIndexByte(line, ' ')+1:]))
	if err != nil {
		return fmt.Errorf("NATS: %q", line)
	}
	head := min(n, HeadBytes)
	p, err := r.Peek(head)
	if err != nil {
		return err
	}
	if err := s.Feed(p); err != nil {
		return err
	}
	_, err = r.Discard(n + len("\r\n"))
	return err
}

// natsSender publishes. NATS does not answer messages, so a PING follows each group that
// is written together. Its PONG means that the server has delivered them.
type natsSender struct {
	out  *bufio.Writer
	in   *bufio.Reader
	done func(int, error)
	now  []int // written since the last PING

	mu      sync.Mutex // guards out against answers to the server's PINGs, and all below
	flights [][]int    // by PING, the oldest first
}

// Sender implements [Client].
func (w natsClient) Sender(conn net.Conn, _ int, done func(int, error)) (Sender, error) {
	r, err := w.connect(conn)
	return &natsSender{out: bufio.NewWriter(conn), in: r, done: done}, err
}

// Send implements [Sender].
func (s *natsSender) Send(slot int, content []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = append(s.now, slot)
	_, _ = s.out.WriteString("PUB " + natsSubject + " ")
	_, _ = s.out.WriteString(strconv.Itoa(len(content)))
	_, _ = s.out.WriteString("\r\n")
	_, _ = s.out.Write(content)
	_, err := s.out.WriteString("\r\n")
	return err
}

// Flush implements [Sender].
func (s *natsSender) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.now) == 0 {
		return nil
	}
	s.flights = append(s.flights, s.now)
	s.now = nil
	_, _ = s.out.WriteString("PING\r\n")
	return s.out.Flush()
}

// Receive implements [Sender].
func (s *natsSender) Receive() error {
	for {
		line, err := readLine(s.in)
		switch {
		case err != nil:
			return err
		case string(line) == natsPong:
			s.mu.Lock()
			landed := s.flights[0]
			s.flights = s.flights[1:]
			s.mu.Unlock()
			for _, slot := range landed {
				s.done(slot, nil)
			}
		case string(line) == natsPing:
			s.mu.Lock()
			_, _ = s.out.WriteString("PONG\r\n")
			err = s.out.Flush()
			s.mu.Unlock()
		case bytes.HasPrefix(line, []byte("-ERR")):
			err = fmt.Errorf("NATS: %s", line)
		}
		if err != nil {
			return err
		}
	}
}
