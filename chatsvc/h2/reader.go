package h2

import (
	"errors"
	"net"
	"os"

	"golang.org/x/net/http2"
)

const (
	smallBuffer = 512
	largeBuffer = 16 << 10
)

// reader buffers the input of a connection. Its buffer is small until a read fills it,
// because most clients of a stream send almost nothing.
type reader struct {
	nc        net.Conn
	buf       []byte
	next, end int // the part of buf that is not read yet

	beforeWait func() // called before each read of nc
	// onTick is called when the deadline of a read has passed. It sets the next one, or
	// returns an error to end the connection.
	onTick func() error
	heard  bool // a whole frame has arrived since the last tick

	inBlock bool // a header block is being read
	left    int  // how much it may still take
	blocks  uint64
}

// frameCost is added for each frame of a header block, so that the number of empty frames
// is bounded too.
const frameCost = 64

// beginBlock is called after the header of a HEADERS frame was read. The block
// may take limit bytes until endFrame is called.
func (r *reader) beginBlock(limit int) {
	r.inBlock, r.left = true, limit
	r.blocks++
}

// endFrame is called after a frame was read; for a header block, after its last frame.
func (r *reader) endFrame() { r.inBlock, r.heard = false, true }

// spend subtracts n bytes from the limit of the header block. The framer had asked for
// size bytes; it reads payloads and frame headers separately.
func (r *reader) spend(n, size int) error {
	if size == frameHeaderBytes {
		n += frameCost
	}
	if r.left -= n; r.left < 0 {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
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
	if r.inBlock {
		if err := r.spend(n, len(p)); err != nil {
			return 0, err // with bytes, the error would be lost in io.ReadFull
		}
	}
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
			r.end = n
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
