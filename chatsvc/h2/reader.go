package h2

import (
	"errors"
	"net"
	"os"
)

const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

// reader buffers what a connection reads. Its buffer is small until a read
// fills it, as most clients of a stream send next to nothing.
type reader struct {
	nc        net.Conn
	buf       []byte
	next, end int // the part of buf that is not read yet

	beforeWait func() // is called before each read of nc
	// onTick is called when a read's deadline has come. It sets the next one, or
	// returns an error to end the connection.
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

// fill reads once, and calls onTick while it waits.
func (r *reader) fill() error {
	switch {
	case r.buf == nil:
		r.buf = make([]byte, smallBuffer)
	case r.end == len(r.buf) && r.end < largeBuffer: // the last read filled it
		r.buf = make([]byte, min(8*r.end, largeBuffer))
	}
	r.next, r.end = 0, 0
	r.beforeWait()
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
