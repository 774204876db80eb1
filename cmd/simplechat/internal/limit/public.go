package limit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
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
		if hit := l.public.take(name, l.perAddress(address, l.config.PublicPerAddress)); hit != none {
			l.note("calls without credentials"+string(hit), address, "")
			where := "in total"
			if hit == perAddress {
				where = "from this address"
			}
			writeRefusal(w, r, refusal(streamsAfter, "there are too many calls without credentials %s: call again later", where))
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
		r = r.WithContext(callCtx)
		r.Body = &limitedBody{r.Body, reads, bodyTime}
		next.ServeHTTP(w, r)
	})
}

// readLimit ends the reads of a request's body after a time, or when a context is done.
type readLimit struct {
	control *http.ResponseController
	timer   *time.Timer
	stop    func() bool
	late    atomic.Bool // the time is over

	mu    sync.Mutex // guards ended; held while the deadline is set, so that the handler cannot end before that
	ended bool
}

func newReadLimit(ctx context.Context, w http.ResponseWriter, d time.Duration) *readLimit {
	l := &readLimit{control: http.NewResponseController(w)}
	l.timer = time.AfterFunc(d, func() {
		l.late.Store(true)
		l.expire()
	})
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

// limitedBody is a request's body that says why it ended too early.
type limitedBody struct {
	io.ReadCloser

	reads *readLimit
	time  time.Duration // in which the body must arrive
}

// Read implements [io.Reader].
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) && b.reads.late.Load() {
		err = connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the message did not arrive within %v: send all of it at once", b.time))
	}
	return n, err
}

// end is called when the handler is about to return.
func (l *readLimit) end() {
	l.timer.Stop()
	l.stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}
