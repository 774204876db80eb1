package chatsvc

import (
	"errors"
	"sync"
	"time"

	"connectrpc.com/connect"
)

// lineWatchdog cuts the read of a line that takes too long. Its timer is not set for each
// line: it looks how long the line has been under way when it fires.
type lineWatchdog struct {
	body     *limitedBody
	patience time.Duration
	passed   bool // a line has ended since begin; the reader's own

	mu    sync.Mutex // guards all below; held while the deadline is set, so that the handler cannot end before that
	since time.Time  // when the line under way was first waited for; zero: there is none
	timer *time.Timer
	armed bool
	done  bool
	cause error // why reads were cut
}

// begin notes that a read waits, for the rest of a line or for a new one.
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

// arm makes the watch look after d. The caller holds mu.
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
	_ = w.body.control.SetReadDeadline(time.Unix(1, 0)) // a writer without deadlines has a server that bounds its requests
}

// reason returns why a read has failed with err.
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
