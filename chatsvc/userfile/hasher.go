package userfile

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"example.com/simplechat/chatsvc"
)

const (
	// maxWaiting bounds how many different credentials wait for a worker: a few
	// seconds of work.
	maxWaiting = 256
	// retryAfter is when a login that found no place may be repeated.
	retryAfter = 5 * time.Second
)

// hasher compares passwords with hashes, few at a time. Calls with the same credentials
// share a comparison. It is safe for concurrent use.
type hasher struct {
	workers chan struct{} // holds one for each comparison under way
	queued  atomic.Int64  // comparisons that wait or are under way
	flights singleflight.Group
	matches func(password, hash string) bool

	hashed  atomic.Int64
	refused atomic.Int64
}

// newHasher returns a hasher that leaves half of the CPUs to everything else.
func newHasher() *hasher {
	return &hasher{workers: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), matches: matches}
}

// errFull says that too many comparisons wait.
var errFull = errors.New("too many users log in at the same time: try again in a few seconds")

// prove reports whether password is the account's, whose digest key is, and remembers
// that in the account. Calls for the same are one. A caller that leaves does not end a
// comparison: others may wait for it, and the queue bounds those that nobody waits for.
func (h *hasher) prove(ctx context.Context, a *account, key digest, password string) (bool, error) {
	// The hash is a part of the flight's name: after a change of the password, nobody
	// shares a comparison that began before it.
	result := h.flights.DoChan(string(key[:])+a.hash, func() (any, error) {
		if a.isProven(key) { // since the caller looked
			return true, nil
		}
		defer h.queued.Add(-1)
		if h.queued.Add(1) > int64(maxWaiting+cap(h.workers)) {
			return false, errFull
		}
		h.workers <- struct{}{}
		defer func() { <-h.workers }()
		h.hashed.Add(1)
		ok := h.matches(password, a.hash)
		if ok {
			a.proven.Store(&key)
		}
		return ok, nil
	})
	select {
	case r := <-result:
		if r.Err != nil {
			h.refused.Add(1)
			return false, chatsvc.NewLimitError(retryAfter, r.Err)
		}
		return r.Val.(bool), nil //nolint:forcetypeassert // see above
	case <-ctx.Done():
		return false, ctx.Err()
	}
}
