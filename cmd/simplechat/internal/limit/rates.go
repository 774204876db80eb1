package limit

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxRates is the largest number of names that rates remembers.
const maxRates = 1 << 16

// rates is a rate limit for each name. It is safe for concurrent use.
type rates struct {
	perSecond rate.Limit // 0: no limit
	burst     int

	mu    sync.Mutex // guards all below
	names map[string]*rate.Limiter
}

func newRates(perSecond float64, burst int) *rates {
	return &rates{perSecond: rate.Limit(perSecond), burst: max(burst, 1), names: make(map[string]*rate.Limiter)}
}

// take uses one of name's tokens. If none is left, it returns the time until the next one.
func (r *rates) take(name string) (wait time.Duration, ok bool) {
	if r.perSecond <= 0 {
		return 0, true
	}
	limiter := r.of(name)
	reservation := limiter.Reserve()
	if wait = reservation.Delay(); wait > 0 {
		reservation.Cancel()
		return wait, false
	}
	return 0, true
}

// left returns how many tokens name has.
func (r *rates) left(name string) float64 {
	r.mu.Lock()
	limiter := r.names[name]
	r.mu.Unlock()
	if limiter == nil {
		return float64(r.burst)
	}
	return limiter.Tokens()
}

// of returns the limiter of name. If there are too many limiters, it forgets those that have
// all their tokens, or else some others.
func (r *rates) of(name string) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if limiter := r.names[name]; limiter != nil {
		return limiter
	}
	if len(r.names) >= maxRates {
		for other, limiter := range r.names {
			if limiter.Tokens() >= float64(r.burst) {
				delete(r.names, other)
			}
		}
		for other := range r.names {
			if len(r.names) < maxRates*7/8 {
				break
			}
			delete(r.names, other)
		}
	}
	limiter := rate.NewLimiter(r.perSecond, r.burst)
	r.names[name] = limiter
	return limiter
}
