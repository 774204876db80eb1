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
	// maxWaiting is the largest number of different credentials that wait for a worker:
	// a few seconds of work.
	maxWaiting = 256
	// retryAfter is the time after which a refused login may be repeated.
	retryAfter = 5 * time.Second
)

// hasher compares passwords with hashes, few at a time. Calls with the same credentials
// share a comparison. It is safe for concurrent use.
type hasher struct {
	workers chan struct{} // has one element for each running comparison
	queued  atomic.Int64  // comparisons that wait or run
	group   singleflight.Group
	matches func(password, hash string) bool

	hashed  atomic.Int64
	refused atomic.Int64
}

// newHasher returns a hasher that uses half of the CPUs.
func newHasher() *hasher {
	return &hasher{workers: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), matches: matches}
}

// errFull means that too many comparisons wait.
var errFull = errors.New("too many users log in at the same time: try again in a few seconds")

// prove reports whether password is the password of an account, and remembers a right one
// in the account. Key is the digest of the name and the password. Calls with the same
// credentials share a comparison. It continues when a caller leaves, because others may
// wait for it; the queue bounds the number of comparisons.
func (h *hasher) prove(ctx context.Context, a *account, key digest, password string) (bool, error) {
	// The hash is a part of the key: after a change of the password, no call shares a
	// comparison that began before the change.
	result := h.group.DoChan(string(key[:])+a.hash, func() (any, error) {
		if a.isProven(key) { // another call has proven it since
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
