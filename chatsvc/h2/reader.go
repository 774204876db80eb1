package h2

import (
	"errors"
	"net"
	"os"
	"time"
)

const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

// reader buffers what a connection reads. Its buffer is small until a read
// fills it, as most clients of a stream send next to nothing.
type reader struct {
	nc  net.Conn
	buf []byte // the bytes from next on are not read yet
	// next is where the next read begins.
	next int
	end  int

	// Every tick, onTick is called by who waits for bytes. It arms the next one,
	// or returns an error to end the connection.
	tick   time.Duration
	onTick func() error
	heard  bool // bytes came since the last tick
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if r.next == r.end {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.next:r.end])
	r.next += n
	return n, nil
}

// buffered returns how many bytes can be read without waiting.
func (r *reader) buffered() int { return r.end - r.next }

// fill reads once, and calls onTick while it waits.
func (r *reader) fill() error {
	switch {
	case r.buf == nil:
		r.buf = make([]byte, smallBuffer)
	case r.end == len(r.buf) && r.end < largeBuffer: // the last read filled it
		r.buf = make([]byte, min(8*r.end, largeBuffer))
	}
	r.next, r.end = 0, 0
	for {
		n, err := r.nc.Read(r.buf)
		if n > 0 {
			r.end, r.heard = n, true
			return nil
		}
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			if err := r.onTick(); err != nil {
				return err
			}
			r.heard = false
		default:
			return err
		}
	}
}

// arm sets when the next tick is due. A deadline for each read would cost each
// of them a timer.
func (r *reader) arm() { _ = r.nc.SetReadDeadline(time.Now().Add(r.tick)) }
