package chatsvc

import (
	"sync/atomic"
	"time"
)

// heartbeat detects that a stream has been silent for too long.
type heartbeat struct {
	limit time.Duration
	last  time.Time // when the last batch was sent
	timer *time.Timer
	// leaving means that the stream must end. It is set before the timer is set to wake
	// the stream's goroutine. So code that sets the timer to another time must check it
	// afterwards.
	leaving atomic.Bool
}

func newHeartbeat(limit time.Duration) *heartbeat {
	return &heartbeat{limit: limit, last: time.Now(), timer: time.NewTimer(limit)}
}

// leave makes the timer fire for the last time. Any goroutine may call it.
func (h *heartbeat) leave() {
	h.leaving.Store(true)
	h.timer.Reset(0)
}

// reset sets the timer, unless leave was called.
func (h *heartbeat) reset(d time.Duration) {
	h.timer.Reset(d)
	if h.leaving.Load() {
		h.timer.Reset(0)
	}
}

// start sets another limit; zero is none.
func (h *heartbeat) start(limit time.Duration) {
	h.limit = limit
	if limit > 0 {
		h.reset(limit)
		return
	}
	h.timer.Stop()
	if h.leaving.Load() {
		h.timer.Reset(0)
	}
}

// isDue reports whether the stream has been silent for too long, and sets the timer
// again. The timer is not set at each batch; the silence is computed when it fires.
func (h *heartbeat) isDue() bool {
	silent := time.Since(h.last)
	if silent < h.limit {
		h.reset(h.limit - silent)
		return false
	}
	h.reset(h.limit)
	return true
}
