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

func newFaultyServer(tb testing.TB, mangle func(int, []byte) [][]byte) string {
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
	return listener.Addr().String()
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

// A run finds what a server does wrong, says so first, and fails.
func TestFaultsAreFound(t *testing.T) {
	t.Parallel()
	// The floor's messages come one at a time, so that each is the only one.
	const at = 5
	for _, c := range []struct {
		name   string
		mangle func(int, []byte) [][]byte
		want   bench.Faults // per subscriber
	}{
		{"gap", func(n int, m []byte) [][]byte {
			if n == at {
				return nil
			}
			return [][]byte{m}
		}, bench.Faults{Lost: 1, Gaps: 1}},
		{"duplicate", func(n int, m []byte) [][]byte {
			if n == at {
				return [][]byte{m, m}
			}
			return [][]byte{m}
		}, bench.Faults{Duplicates: 1}},
		{"reordering", swap(at), bench.Faults{Gaps: 1, Reordered: 1}},
		{"end", func(n int, m []byte) [][]byte {
			if n == at {
				return [][]byte{m, nil}
			}
			return [][]byte{m}
		}, bench.Faults{Ended: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr := newFaultyServer(t, c.mangle)
			// One message at a time: the faulty one is not the last of its slot.
			args := []string{"--protocol", wire.Floor, "-s", "3", "-p", "1", "-w", "1", "--rate", "100"}
			code, r, _ := runLoad(t, addr, args...)
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
		})
	}
	t.Run("report", func(t *testing.T) {
		t.Parallel()
		addr := newFaultyServer(t, func(n int, m []byte) [][]byte {
			if n == at {
				return nil
			}
			return [][]byte{m}
		})
		code, stdout, stderr := chatbench(t, "run", "--addr", addr, "--protocol", wire.Floor, "-s", "2", "-p", "1", "-w", "1", "-r", "100", "-d", "200ms", "--warmup", "0s")
		if code != 1 || !strings.HasPrefix(stdout, "FAULTS: 2 deliveries lost (2 gaps)") || !strings.Contains(stderr, "faults") {
			t.Errorf("exit code %d, %s%s", code, stdout, stderr)
		}
	})
}

// swap delivers message number at behind the next one.
func swap(at int) func(int, []byte) [][]byte {
	var held []byte
	return func(n int, m []byte) [][]byte {
		switch n {
		case at:
			held = m
			return nil
		case at + 1:
			return [][]byte{m, held}
		default:
			return [][]byte{m}
		}
	}
}
