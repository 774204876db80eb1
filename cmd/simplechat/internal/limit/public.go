package limit

import (
	"context"
	"net/http"
	"sync"
	"time"
)

const (
	// publicTime bounds a call without credentials.
	publicTime = 10 * time.Minute
	// publicBodyTime bounds how long the one message of such a call may take.
	publicBodyTime = 30 * time.Second
)

// Public bounds the calls of a handler that asks for no credentials, in number and in
// time. They end at once when ctx is done. With isStream the caller may send messages
// for as long as the call may take.
func (l *Limits) Public(ctx context.Context, isStream bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address := addressOf(r.Context())
		name := network(address)
		if !l.public.take(name, l.perAddress(address, l.config.PublicPerAddress)) {
			l.note("calls without credentials", address, "")
			writeRefusal(w, r, refusal(streamsAfter, "there are too many calls without credentials: call again later"))
			return
		}
		defer l.public.give(name)
		callCtx, cancel := context.WithTimeout(r.Context(), publicTime)
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		bodyTime := publicBodyTime
		if isStream {
			bodyTime = publicTime
		}
		reads := newReadLimit(callCtx, w, bodyTime)
		defer reads.end()
		next.ServeHTTP(w, r.WithContext(callCtx))
	})
}

// readLimit ends the reads of a request's body after a time, or when a context is done.
type readLimit struct {
	control *http.ResponseController
	timer   *time.Timer
	stop    func() bool

	mu    sync.Mutex // guards ended; held while the deadline is set, so that the handler cannot end before that
	ended bool
}

func newReadLimit(ctx context.Context, w http.ResponseWriter, d time.Duration) *readLimit {
	l := &readLimit{control: http.NewResponseController(w)}
	l.timer = time.AfterFunc(d, l.expire)
	l.stop = context.AfterFunc(ctx, l.expire)
	return l
}

func (l *readLimit) expire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		_ = l.control.SetReadDeadline(time.Unix(1, 0))
	}
}

// end is called when the handler is about to return.
func (l *readLimit) end() {
	l.timer.Stop()
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
