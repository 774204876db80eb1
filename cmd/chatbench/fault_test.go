package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// faultyServer speaks the floor's protocol, and does wrong to the n-th message:
// mangle returns what subscribers get for it.
type faultyServer struct {
	mangle func(n int, message []byte) [][]byte

	mu   sync.Mutex // guards all below
	n    int
	subs []net.Conn
}

func newFaultyServer(tb testing.TB, mangle func(int, []byte) [][]byte) (*faultyServer, string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = listener.Close() })
	s := &faultyServer{mangle: mangle}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, listener.Addr().String()
}

// messages returns how many messages came.
func (s *faultyServer) messages() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *faultyServer) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	if role, err := r.ReadByte(); err != nil || role == wire.FloorSubscriber {
		s.mu.Lock()
		s.subs = append(s.subs, conn)
		s.mu.Unlock()
		_, _ = conn.Write(make([]byte, wire.FloorPrefix))
		return
	}
	for {
		n, err := wire.FloorLength(r)
		if err != nil {
			_ = conn.Close()
			return
		}
		message := make([]byte, wire.FloorPrefix+n)
		binary.BigEndian.PutUint32(message, uint32(n))
		if _, err := io.ReadFull(r, message[wire.FloorPrefix:]); err != nil {
			return
		}
		s.deliver(message)
		_, _ = conn.Write(make([]byte, wire.FloorPrefix))
	}
}

func (s *faultyServer) deliver(message []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.mangle(s.n, message) {
		for _, sub := range s.subs {
			if m == nil {
				_ = sub.Close()
				continue
			}
			_, _ = sub.Write(m)
		}
	}
	s.n++
}

// faultAt is the number of the message to which a faulty server does wrong.
const faultAt = 5

// mangleOne mangles one message, and passes on all others.
func mangleOne(wrong func(m []byte) [][]byte) func() func(int, []byte) [][]byte {
	return func() func(int, []byte) [][]byte {
		return func(n int, m []byte) [][]byte {
			if n == faultAt {
				return wrong(m)
			}
			return [][]byte{m}
		}
	}
}

// A run finds the faults of a server, reports them first, and fails.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	gap := mangleOne(func([]byte) [][]byte { return nil })
	for _, c := range []struct {
		name   string
		mangle func() func(int, []byte) [][]byte
		want   bench.Faults // per subscriber
	}{
		{"gap", gap, bench.Faults{Lost: 1, Gaps: 1}},
		{"duplicate", mangleOne(func(m []byte) [][]byte { return [][]byte{m, m} }), bench.Faults{Duplicates: 1}},
		{"reordering", swap, bench.Faults{Gaps: 1, Reordered: 1}},
		{"end", mangleOne(func(m []byte) [][]byte { return [][]byte{m, nil} }), bench.Faults{Ended: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			again(t, func() bool {
				s, addr := newFaultyServer(t, c.mangle())
				// One message at a time, so that the faulty one is not the last of its slot.
				code, r, _ := runLoad(t, addr, "--protocol", wire.Floor, "-s", "3", "-p", "1", "-w", "1", "--rate", "100")
				if s.messages() < faultAt+2 {
					return false
				}
				got := r.Faults
				if c.name == "end" {
					if got.Lost == 0 {
						t.Error("nothing is lost behind the end")
					}
					got.Lost = 0
				}
				got.Cause = ""
				want := bench.Faults{Lost: 3 * c.want.Lost, Gaps: 3 * c.want.Gaps, Duplicates: 3 * c.want.Duplicates, Reordered: 3 * c.want.Reordered, Ended: 3 * c.want.Ended}
				if code != 1 || got != want {
					t.Errorf("exit code %d, %+v", code, got)
				}
				return true
			})
		})
	}
	t.Run("report", func(t *testing.T) {
		t.Parallel()
		again(t, func() bool {
			s, addr := newFaultyServer(t, gap())
			code, stdout, stderr := chatbench(t, "run", "--addr", addr, "--protocol", wire.Floor, "-s", "2", "-p", "1", "-w", "1", "-r", "100", "-d", "200ms", "--warmup", "0s")
			if s.messages() < faultAt+2 {
				return false
			}
			if code != 1 || !strings.HasPrefix(stdout, "FAULTS: 2 deliveries lost (2 gaps)") || !strings.Contains(stderr, "faults") {
				t.Errorf("exit code %d, %s%s", code, stdout, stderr)
			}
			return true
		})
	})
}

// swap delivers the message behind the next one.
func swap() func(int, []byte) [][]byte {
	var held []byte
	return func(n int, m []byte) [][]byte {
		switch n {
		case faultAt:
			held = m
			return nil
		case faultAt + 1:
			return [][]byte{m, held}
		default:
			return [][]byte{m}
		}
	}
}
