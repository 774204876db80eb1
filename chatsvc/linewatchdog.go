package chatsvc

import (
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// lineWatchdog cuts the read of a line that takes too long. Its timer is not set for each
// line; when it fires, it checks how long the current line has taken.
type lineWatchdog struct {
	body     *limitedBody
	patience time.Duration
	passed   bool // a line has ended since begin; only the reader uses it

	mu    sync.Mutex // guards all below; held while the deadline is set, so that the handler cannot end before that
	since time.Time  // when the wait for the rest of the current line began; zero: no line has begun
	timer *time.Timer
	armed bool
	done  bool
	cause error // why reads were cut
}

// begin notes that a read begins, for the rest of a line or for a new one.
func (w *lineWatchdog) begin(isPartial bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.passed || !isPartial {
		w.passed, w.since = false, time.Time{}
	}
	if !isPartial || !w.since.IsZero() {
		return
	}
	w.since = time.Now()
	if !w.armed {
		w.arm(w.patience)
	}
}

// arm starts the timer. The caller holds mu.
func (w *lineWatchdog) arm(d time.Duration) {
	w.armed = true
	if w.timer == nil {
		w.timer = time.AfterFunc(d, w.look)
	} else {
		w.timer.Reset(d)
	}
}

func (w *lineWatchdog) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	if w.since.IsZero() || w.done {
		return
	}
	if left := w.patience - time.Since(w.since); left > 0 {
		w.arm(left)
		return
	}
	w.cut(connect.NewError(connect.CodeDeadlineExceeded, errors.New("a line did not arrive in time: send it again over a faster connection")))
}

// cut makes reads fail. The caller holds mu.
func (w *lineWatchdog) cut(cause error) {
	if w.done || w.cause != nil {
		return
	}
	w.cause = cause
	_ = w.body.control.SetReadDeadline(time.Unix(1, 0)) // if the writer has no deadlines, the embedder's server must bound its requests
}

// reason returns the cause of a failed read: the cause of the cut, or err.
func (w *lineWatchdog) reason(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause != nil {
		return w.cause
	}
	return err
}

func (w *lineWatchdog) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
}
