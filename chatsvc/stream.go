package chatsvc

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// stream writes batches to one subscriber. The bytes are the broker's own,
// shared by all: only connect's envelope is added. Between headers and
// trailers, which are connect's, nothing else writes to w. It is not safe for
// concurrent use.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	form    form
	epoch   string            // of the log
	next    uint64            // offset of the record to write next
	isFirst bool              // nothing was written
	prefix  [prefixBytes]byte // of the message being written
	watch   watchdog
}

// newStream returns a stream of the records from offset next on.
func newStream(w http.ResponseWriter, f form, epoch string, next uint64, deadline time.Duration) *stream {
	control := http.NewResponseController(w)
	return &stream{w: w, control: control, form: f, epoch: epoch, next: next, isFirst: true, watch: watchdog{control: control, deadline: deadline}}
}

// send writes b, at most one message, and flushes it: each message starts in an
// HTTP/2 DATA frame of its own. It returns errSlow if the deadline has passed,
// and an error that wraps errGone if the subscriber has left.
func (s *stream) send(b batch) (err error) {
	body := b.data
	var array *jsonArray
	if s.form.isJSON() {
		if body, array, err = b.json(); err != nil {
			return err
		}
	}
	s.watch.start(pendingWrite{chunk: b.chunk, size: len(body), array: array})
	defer func() {
		if cut := s.watch.stop(b, len(body), err == nil); cut != nil {
			err = cut
		}
	}()
	switch s.form {
	case formEvents:
		err = s.writeEvents(b)
	case formText:
		err = s.writeText(b)
	default:
		err = s.write(b.count, body)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	s.isFirst = false
	s.next += uint64(b.count)
	return nil
}

// write writes count records as one message.
func (s *stream) write(count int, body []byte) error {
	head, foot := "", ""
	if s.form != formProto {
		head, foot = `{"messages":[`, `]}`
		if count == 0 {
			head, foot = `{`, `}`
		}
	}
	if s.form == formLines {
		foot += "\n"
	} else {
		s.prefix = envelopePrefix(len(head) + len(body) + len(foot))
		if _, err := s.w.Write(s.prefix[:]); err != nil {
			return err
		}
	}
	if _, err := io.WriteString(s.w, head); err != nil {
		return err
	}
	if _, err := s.w.Write(body); err != nil {
		return err
	}
	if _, err := io.WriteString(s.w, foot); err != nil {
		return err
	}
	return s.control.Flush()
}

// watchdog cuts a write that takes longer than the deadline. It sets the
// response's own write deadline only then: to set and clear that around each
// write costs HTTP/2 two messages to the connection's goroutine for each batch
// (4 % of the CPU per delivery, with 1,000 subscribers and 200 messages/s), and
// a deadline left set would reset an idle stream. For the same reason its timer
// is not stopped between writes: it looks whether there is one when it fires.
type watchdog struct {
	control  *http.ResponseController
	deadline time.Duration

	mu      sync.Mutex // guards all below; held while the response is cut, so that its handler cannot end before that
	write   pendingWrite
	sent    deliveries
	next    uint64 // offset behind what was sent; 0: nothing was
	cut     error  // why the response was cut; nil: it was not
	armed   bool
	timer   *time.Timer
	beat    *heartbeat // nil before the first batch
	leaving bool       // the stream is to end when it has nothing to send
}

// pendingWrite is a write under way.
type pendingWrite struct {
	since time.Time  // when it began; zero: there is none
	chunk *chunk     // that it is a part of, or nil
	size  int        // bytes
	array *jsonArray // of the chunk's JSON form, if it is a part of that; or nil
}

// start begins a write.
func (w *watchdog) start(write pendingWrite) {
	w.mu.Lock()
	defer w.mu.Unlock()
	write.since = time.Now()
	w.write = write
	if !w.armed {
		w.arm(w.allowed())
	}
}

// holds notes that the write under way is of another JSON form than it began with.
func (w *watchdog) holds(array *jsonArray) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write.array = array
}

// stop ends a write of b, which took size bytes, and counts it if it succeeded. It
// returns why it was cut, if it was.
func (w *watchdog) stop(b batch, size int, ok bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.write = pendingWrite{}
	if ok && w.cut == nil && b.count > 0 {
		w.sent.add(deliveries{uint64(b.count), 1, uint64(size)})
		w.next = b.offset + uint64(b.count)
	}
	return w.cut
}

// allowed returns how long the write under way may take. The caller holds mu.
func (w *watchdog) allowed() time.Duration {
	return w.deadline + transferTime(int64(w.write.size))
}

// pending returns the write under way, unless it was cut.
func (w *watchdog) pending() pendingWrite {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut != nil {
		return pendingWrite{}
	}
	return w.write
}

// cutWrite cuts the response if write is still under way.
func (w *watchdog) cutWrite(write pendingWrite, reason error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.write == write {
		w.cutLocked(reason)
	}
}

// cutLocked makes the write under way fail. The caller holds mu.
func (w *watchdog) cutLocked(reason error) {
	w.cut = reason
	// A writer without deadlines stays stuck until its connection ends: there
	// is nothing more to do about it here.
	_ = w.control.SetWriteDeadline(time.Unix(1, 0))
}

// end lets go of the response. No write follows.
func (w *watchdog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

// attach makes the stream's heartbeat known to leave.
func (w *watchdog) attach(beat *heartbeat) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beat = beat
	if w.leaving {
		beat.leave()
	}
}

// leave asks the stream to end when it has nothing to send.
func (w *watchdog) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaving = true
	if w.beat != nil {
		w.beat.leave()
	}
}

// progress returns what was sent, and the offset behind it, 0 if nothing was.
func (w *watchdog) progress() (deliveries, uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sent, w.next
}

// arm makes the watchdog look after d. The caller holds mu.
func (w *watchdog) arm(d time.Duration) {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.look)
	} else {
		w.timer.Reset(d)
	}
}

// look cuts the write under way if it has taken too long.
func (w *watchdog) look() {
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
