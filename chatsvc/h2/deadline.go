package h2

import (
	"os"
	"time"

	"golang.org/x/net/http2"
)

// deadline calls a function at a given time. It is guarded by the connection's mu.
type deadline struct{ timer *time.Timer }

// setReadDeadline makes reads of the body fail from t on. A deadline that has passed
// before the body was complete cannot be undone: later bytes are dropped.
func (s *stream) setReadDeadline(t time.Time) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.readTimer.set(s, t, func() {
		s.readExpired = s.readExpired || !s.complete
		s.cond.Broadcast()
	})
}

// setWriteDeadline resets the stream at t, unless the response has ended.
func (s *stream) setWriteDeadline(t time.Time) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.writeTimer.set(s, t, func() {
		if !s.sent {
			s.abort(os.ErrDeadlineExceeded, http2.ErrCodeInternal) // as net/http does
		}
	})
}

// set makes d call expire at t, with mu held: at once if t has passed, never
// if t is zero. It replaces an earlier setting.
func (d *deadline) set(s *stream, t time.Time, expire func()) {
	d.stop()
	if t.IsZero() {
		return
	}
	left := time.Until(t)
	if left <= 0 {
		expire()
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if d.timer == timer { // or else it was too late to stop it
			expire()
		}
	})
	d.timer = timer
}

// stop makes d call nothing.
func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}
