package h2

import (
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http2"
)

const (
	// maxAhead is how many bytes may wait during a write. Beyond it, goroutines that
	// add more wait too.
	maxAhead = 64 << 10
	// maxWrite is about how many bytes one handler queues before it writes.
	maxWrite = 256 << 10
	// maxPiece is about how many bytes a system call writes. A client that does
	// not accept that many within the time for a write is stuck.
	maxPiece = 64 << 10
	// maxWriteFrame is the largest frame, even if the client allows larger ones: other
	// streams must get their turn.
	maxWriteFrame = maxPiece
	// smallWrite is how many bytes are worth a separate write while several
	// calls of a connection are open.
	smallWrite = 1 << 10
	// minShared is the size from which bytes of a handler's are not copied.
	minShared = 2 << 10
	// keptBuffer is the largest buffer that is used again.
	keptBuffer = 64 << 10
	// maxRounds is how often a goroutine that has written its own frames also
	// writes the frames that others have queued since.
	maxRounds = 4
	// keptResets is how many streams that the server has reset are remembered:
	// frames that the client sent before it learned of the reset are not errors.
	keptResets = 64
)

// queue holds the frames that are to be written to a connection. A goroutine that finds
// no other goroutine writing writes all that is queued. The others leave their frames for
// the next write, and wait for it only if their bytes are shared or too many bytes wait.
// All methods except init are called with mu held.
type queue struct {
	mu       *sync.Mutex // the connection's
	nc       net.Conn
	vectored bool // nc writes several buffers in one system call; others get them copied as they are written

	bytes  *[]byte       // frames; nil while none wait, so that an idle connection holds none
	shared []sharedBytes // payloads that go in between
	size   int           // sum of the payloads' bytes

	next    uint64 // number of the write that will take the queued frames
	written uint64 // number of the last write that has ended
	writing bool
	later   bool      // a goroutine has been started that will flush
	answers int       // queued frames that answer frames of the client
	done    sync.Cond // a write has ended
	waiters int
	err     error // no more is written
	iov     [][]byte

	progress atomic.Uint64 // system calls that have written, to detect stuck clients

	begun  bool // the first header block was queued
	resets []uint32
	oldest int // index in resets, when it is full
}

// sharedBytes are bytes of a handler that follow the first at bytes of the queue's own
// buffer. They are not copied.
type sharedBytes struct {
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
	// Only net's own connections have this method; other connections would get one
	// write for each buffer.
	_, q.vectored = nc.(interface{ MultipathTCP() (bool, error) })
}

// pop returns the waiting frames. The caller appends more and calls push.
func (q *queue) pop() []byte {
	if q.bytes == nil {
		q.bytes = buffers.Get().(*[]byte) //nolint:forcetypeassert // New makes nothing else
		*q.bytes = (*q.bytes)[:0]
	}
	return *q.bytes
}

// push stores the frames that pop returned, with more appended.
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

// data queues the first n bytes of a and b as one frame. The bytes of a are copied.
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
	q.shared = append(q.shared, sharedBytes{len(out), b})
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

// flush writes the queued frames, or leaves them to the goroutine that is writing. With
// wait it returns when they are written and the shared bytes are no longer in use.
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

// finish writes the frames that others have queued while this goroutine wrote. If one of
// them waits, that one is woken and writes.
func (q *queue) finish() {
	for range maxRounds {
		if q.writing || q.waiters > 0 || q.waiting() == 0 || q.err != nil {
			return
		}
		q.write()
	}
	q.flushLater()
}

// flushLater is flush for callers that must not wait. Only one goroutine at a time does
// it: otherwise a client that sends many frames could start one for each.
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

// fail ends the queue: nothing more is written.
func (q *queue) fail(err error) {
	if q.err == nil {
		q.err = err
	}
	q.done.Broadcast()
}
