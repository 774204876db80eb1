package h2

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

const (
	// maxAhead is how many bytes may wait behind a write before those who add
	// more wait too.
	maxAhead = 64 << 10
	// maxWrite is about how many bytes one handler queues before it writes.
	maxWrite = 256 << 10
	// maxPiece is about how many bytes a system call writes. A client that has
	// not taken that many within the time for a write is stuck.
	maxPiece = 64 << 10
	// maxWriteFrame is the largest frame, whatever the client allows: others
	// that wait behind it are to have their turn.
	maxWriteFrame = maxPiece
	// smallWrite is how many bytes are worth a write of their own where several
	// calls of a connection are under way.
	smallWrite = 1 << 10
	// minShared is the size from which bytes of a handler's are not copied.
	minShared = 2 << 10
	// keptBuffer is the largest buffer that is used again.
	keptBuffer = 64 << 10
	// maxRounds is how often a goroutine that has written its own frames goes
	// on to write those that others left meanwhile.
	maxRounds = 4
	// keptResets is how many streams that the server ended first are
	// remembered: frames that the client sent before it knew are no errors.
	keptResets = 64
)

// queue is what is to be written to a connection. Whoever finds nobody writing
// writes all that is queued; the others leave their frames for the next write,
// and wait for it only if bytes of theirs are shared or too many are waiting.
// All but init is called with mu held.
type queue struct {
	mu       *sync.Mutex // the connection's
	nc       net.Conn
	vectored bool // nc writes several buffers in one system call; others get them copied as they are written

	bytes  *[]byte // frames; nil while none wait, so that an idle connection holds none
	shared []share // payloads that go in between
	size   int     // sum of the payloads' bytes

	next    uint64 // number of the write that will take what is queued
	written uint64 // number of the last write that has ended
	writing bool
	later   bool      // a goroutine has been started that will flush
	answers int       // frames among those queued that answer the client's
	done    sync.Cond // a write has ended
	waiters int
	err     error // no more is written
	iov     [][]byte

	progress atomic.Uint64 // system calls that have written, for the watch over stuck clients

	begun  bool // the first header block was queued
	resets []uint32
	oldest int // index in resets, when it is full
}

// share is bytes of a handler's that go behind the first at bytes of the queue's
// own.
type share struct {
	at   int
	data []byte
}

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 4<<10)
	return &b
}}

func (q *queue) init(mu *sync.Mutex, nc net.Conn) {
	q.mu, q.nc, q.next = mu, nc, 1
	q.done.L = mu
	// Only net's own connections have it; others would get a write a buffer.
	_, q.vectored = nc.(interface{ MultipathTCP() (bool, error) })
}

// pop returns the frames that wait, for more to be appended and pushed back.
func (q *queue) pop() []byte {
	if q.bytes == nil {
		q.bytes = buffers.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
		*q.bytes = (*q.bytes)[:0]
	}
	return *q.bytes
}

// push puts back what pop returned, with more behind it.
func (q *queue) push(b []byte) { *q.bytes = b }

// waiting returns how many bytes are queued.
func (q *queue) waiting() int {
	if q.bytes == nil {
		return 0
	}
	return len(*q.bytes) + q.size
}

// headers queues a header block.
func (q *queue) headers(block []byte, maxFrame int, stream uint32, end bool) {
	if !q.begun {
		q.begun = true
		block = append([]byte{noDynamicTable}, block...)
	}
	q.push(appendHeaders(q.pop(), block, maxFrame, stream, end))
}

// data queues the first n bytes of a and b as one frame. Of a they are copied.
func (q *queue) data(stream uint32, n int, a, b []byte, end bool) {
	var flags http2.Flags
	if end {
		flags = http2.FlagDataEndStream
	}
	out := appendFrame(q.pop(), n, http2.FrameData, flags, stream)
	ofA := min(n, len(a))
	out = append(out, a[:ofA]...)
	if b = b[:n-ofA]; len(b) < minShared {
		q.push(append(out, b...))
		return
	}
	q.push(out)
	q.shared = append(q.shared, share{len(out), b})
	q.size += len(b)
}

// reset queues the end of a stream that the client has not ended.
func (q *queue) reset(stream uint32, code http2.ErrCode) {
	q.push(appendReset(q.pop(), stream, code))
	if len(q.resets) < keptResets {
		q.resets = append(q.resets, stream)
		return
	}
	q.resets[q.oldest] = stream
	q.oldest = (q.oldest + 1) % keptResets
}

// wasReset reports whether reset was called for stream not long ago.
func (q *queue) wasReset(stream uint32) bool { return slices.Contains(q.resets, stream) }

// flush writes what is queued, or leaves it to who is writing. With wait it
// returns when it is written, and nobody holds the shared bytes any more.
func (q *queue) flush(wait bool) error {
	mine := q.next
	if q.waiting() == 0 {
		mine-- // it was taken by a write that may not have ended
	}
	for q.written < mine {
		taken := q.next > mine
		switch {
		case q.err != nil && !taken:
			return q.err
		case !q.writing:
			q.write()
		case wait || q.waiting() > maxAhead:
			q.waiters++
			q.done.Wait()
			q.waiters--
		default:
			return nil
		}
	}
	q.finish()
	return q.err
}

// finish writes what others left while this goroutine wrote. Where one of them
// waits, it is woken and writes.
func (q *queue) finish() {
	for range maxRounds {
		if q.writing || q.waiters > 0 || q.waiting() == 0 || q.err != nil {
			return
		}
		q.write()
	}
	q.flushLater()
}

// flushLater is flush for callers that must not wait. One goroutine at a time does
// it: a client that sends many frames to answer would start one for each.
func (q *queue) flushLater() {
	if q.later || q.writing || q.waiters > 0 || q.waiting() == 0 || q.err != nil {
		return
	}
	q.later = true
	go func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.later = false
		_ = q.flush(false)
	}()
}

// write writes what is queued. It gives mu back meanwhile.
func (q *queue) write() {
	bytes, shared, number := q.bytes, q.shared, q.next
	q.bytes, q.shared, q.size, q.answers = nil, nil, 0, 0
	q.next++
	q.writing = true
	q.mu.Unlock()
	var err error
	switch {
	case len(shared) == 0:
		err = q.writeOwn(*bytes)
	case q.vectored:
		err = q.writeShared(*bytes, shared)
	default:
		err = q.writeCopied(*bytes, shared)
	}
	if cap(*bytes) <= keptBuffer {
		buffers.Put(bytes)
	}
	q.mu.Lock()
	q.writing = false
	q.written = number
	if q.shared == nil {
		clear(shared)
		q.shared = shared[:0]
	}
	if err != nil {
		q.fail(err)
	}
	if q.waiters > 0 {
		q.done.Broadcast()
	}
}

// writeOwn writes bytes.
func (q *queue) writeOwn(bytes []byte) error {
	for len(bytes) > 0 {
		n, err := q.nc.Write(bytes[:min(len(bytes), maxPiece)])
		if err != nil {
			return err
		}
		bytes = bytes[n:]
		q.progress.Add(1)
	}
	return nil
}

// writeShared writes bytes with the shared ones in between.
func (q *queue) writeShared(bytes []byte, shared []share) error {
	from, size := 0, 0
	for _, s := range shared {
		q.iov = append(q.iov, bytes[from:s.at], s.data)
		size += s.at - from + len(s.data)
		from = s.at
		if size >= maxPiece {
			if err := q.writePieces(); err != nil {
				return err
			}
			size = 0
		}
	}
	q.iov = append(q.iov, bytes[from:])
	return q.writePieces()
}

// writeCopied is writeShared where each buffer would be a write of its own, and
// over TLS a record. Only the goroutine that writes holds a copy, of a piece.
func (q *queue) writeCopied(bytes []byte, shared []share) error {
	piece := buffers.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
	defer buffers.Put(piece)
	out, from := slices.Grow((*piece)[:0], maxPiece), 0
	defer func() { *piece = out }()
	add := func(data []byte) error {
		for len(data) > 0 {
			n := min(len(data), maxPiece-len(out))
			out, data = append(out, data[:n]...), data[n:]
			if len(out) < maxPiece {
				break
			}
			if err := q.writeOwn(out); err != nil {
				return err
			}
			out = out[:0]
		}
		return nil
	}
	for _, s := range shared {
		if err := add(bytes[from:s.at]); err != nil {
			return err
		}
		if err := add(s.data); err != nil {
			return err
		}
		from = s.at
	}
	if err := add(bytes[from:]); err != nil {
		return err
	}
	return q.writeOwn(out)
}

// writePieces writes what iov holds in one system call.
func (q *queue) writePieces() error {
	all := net.Buffers(q.iov)
	_, err := all.WriteTo(q.nc)
	q.progress.Add(1)
	clear(q.iov)
	q.iov = q.iov[:0]
	return err
}

// fail ends the queue: nothing more is written.
func (q *queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
	q.done.Broadcast()
}
