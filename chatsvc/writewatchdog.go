package chatsvc

import (
	"net/http"
	"sync"
	"time"
)

// writeWatchdog cuts a write that takes longer than the deadline. Only then it sets the
// write deadline of the response. Setting and clearing that for each write would cost
// two messages to the goroutine of the HTTP/2 connection for each batch (4 % of the CPU
// per delivery with 1,000 subscribers and 200 messages/s), and a deadline that stays set
// would reset an idle stream. For the same reason, its timer is not stopped between writes:
// when it fires, it checks whether a write is pending.
type writeWatchdog struct {
	control  *http.ResponseController
	deadline time.Duration

	mu      sync.Mutex // guards all below; held while the response is cut, so that its handler cannot end before that
	write   pendingWrite
	sent    deliveries
	next    uint64 // offset after the last sent record; 0 if none was sent
	cut     error  // why the response was cut; nil if it was not
	armed   bool
	timer   *time.Timer
	beat    *heartbeat // nil before the first batch
	leaving bool       // the stream must end when it has nothing more to send
}

// pendingWrite is a write that has begun and not ended.
type pendingWrite struct {
	since time.Time  // when it began; zero if no write is pending
	chunk *chunk     // the chunk that is written, or nil
	size  int        // bytes
	array *jsonArray // the array of the chunk's JSON form that is written, or nil
}

// start begins a write.
func (w *writeWatchdog) start(write pendingWrite) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write.since = time.Now()
	w.write = write
	if !w.armed {
		w.arm(w.allowed())
	}
}

// holds notes that the pending write uses another JSON form than at its start.
func (w *writeWatchdog) holds(array *jsonArray) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write.array = array
}

// stop ends the write of b with size bytes, and counts it if it has succeeded. It
// returns why the write was cut, or nil.
func (w *writeWatchdog) stop(b batch, size int, ok bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write = pendingWrite{}
	if ok && w.cut == nil && b.count > 0 {
		w.sent.add(deliveries{uint64(b.count), 1, uint64(size)})
		w.next = b.offset + uint64(b.count)
	}
	return w.cut
}

// allowed returns how long the pending write may take. The caller holds mu.
func (w *writeWatchdog) allowed() time.Duration {
	return w.deadline + transferTime(int64(w.write.size))
}

// pending returns the pending write, unless it was cut.
func (w *writeWatchdog) pending() pendingWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut != nil {
		return pendingWrite{}
	}
	return w.write
}

// cutWrite cuts the response if write is still pending.
func (w *writeWatchdog) cutWrite(write pendingWrite, reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.write == write {
		w.cutLocked(reason)
	}
}

// cutLocked makes the pending write fail. The caller holds mu.
func (w *writeWatchdog) cutLocked(reason error) {
	w.cut = reason
	// A writer without deadlines stays stuck until its connection ends; that cannot be
	// changed here.
	_ = w.control.SetWriteDeadline(time.Unix(1, 0))
}

// end stops the timer. No write may follow.
func (w *writeWatchdog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// attach sets the heartbeat of the stream, which leave uses.
func (w *writeWatchdog) attach(beat *heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beat = beat
	if w.leaving {
		beat.leave()
	}
}

// leave makes the stream end when it has nothing more to send.
func (w *writeWatchdog) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	if w.beat != nil {
		w.beat.leave()
	}
}

// progress returns the counts of sent messages, and the offset after the last one, or 0 if
// none was sent.
func (w *writeWatchdog) progress() (deliveries, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.next
}

// arm starts the timer. The caller holds mu.
func (w *writeWatchdog) arm(d time.Duration) {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.look)
	} else {
		w.timer.Reset(d)
	}
}

// look cuts the pending write if it has taken too long.
func (w *writeWatchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.write.since.IsZero() || w.cut != nil {
		return
	}
	if left := w.allowed() - time.Since(w.write.since); left > 0 {
		w.arm(left)
		return
	}
	w.cutLocked(errSlow)
}
