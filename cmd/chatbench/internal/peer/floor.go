package peer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"

	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
)

// floorCmd measures the lowest possible cost of fan-out if each delivery is a separate
// write, which is only the kernel's work. Its protocol is wire.Floor.
type floorCmd struct{ flags }

// floorFiller is the number of bytes that are added to prefix and content, so that a
// delivery is as long as over gRPC, where a frame's header has 9 bytes, an envelope's
// prefix 5, and the time, type and sender of a record about 20.
const floorFiller = 9 + wire.PrefixBytes + 20 - wire.FloorPrefix

// floorQueue is how many messages wait for a writer.
const floorQueue = 256

// floor hands messages to writers, each of which has a part of the subscribers.
type floor struct {
	mu      sync.Mutex // guards all below; held while a message is queued, so that all see one order
	writers []*floorWriter
	joined  int
}

// floorWriter writes every message to its subscribers.
type floorWriter struct {
	queue chan []byte
	mu    sync.Mutex // guards conns; held while a message is written
	conns []net.Conn
}

// Run serves until ctx is done.
func (c *floorCmd) Run(ctx context.Context, out *cli.Output) error {
	listener, err := c.listen(ctx)
	if err != nil {
		return err
	}
	f := &floor{}
	for range runtime.NumCPU() {
		w := &floorWriter{queue: make(chan []byte, floorQueue)}
		f.writers = append(f.writers, w)
		go w.write()
	}
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	c.announce(out, listener.Addr())
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go f.serve(conn)
	}
}

// serve serves one connection.
func (f *floor) serve(conn net.Conn) {
	r := bufio.NewReader(conn)
	role, err := r.ReadByte()
	switch {
	case err != nil:
		_ = conn.Close()
	case role == wire.FloorSubscriber:
		f.join(conn)
	default:
		_ = f.publish(conn, r) // the error is the publisher's end
		_ = conn.Close()
	}
}

// join greets a subscriber, and gives it to a writer.
func (f *floor) join(conn net.Conn) {
	f.mu.Lock()
	w := f.writers[f.joined%len(f.writers)]
	f.joined++
	f.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns = append(w.conns, conn)
	_, _ = conn.Write(make([]byte, wire.FloorPrefix)) // an error shows at the next message too
}

// publish queues the messages of a publisher.
func (f *floor) publish(conn net.Conn, r *bufio.Reader) error {
	for {
		n, err := wire.FloorLength(r)
		if err != nil {
			return err
		}
		m := make([]byte, wire.FloorPrefix+n+floorFiller)
		binary.BigEndian.PutUint32(m, uint32(n+floorFiller))
		if _, err := io.ReadFull(r, m[wire.FloorPrefix:wire.FloorPrefix+n]); err != nil {
			return err
		}
		f.mu.Lock()
		for _, w := range f.writers {
			w.queue <- m
		}
		f.mu.Unlock()
		if _, err := conn.Write(make([]byte, wire.FloorPrefix)); err != nil {
			return err
		}
	}
}

func (w *floorWriter) write() {
	for m := range w.queue {
		w.mu.Lock()
		kept := w.conns[:0]
		for _, conn := range w.conns {
			if _, err := conn.Write(m); err != nil {
				_ = conn.Close()
				continue
			}
			kept = append(kept, conn)
		}
		w.conns = kept
		w.mu.Unlock()
	}
}
