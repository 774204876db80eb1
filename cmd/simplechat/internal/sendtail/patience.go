package sendtail

import (
	"sync"
	"time"
)

// patience limits the time without a server. It is safe for concurrent use.
type patience struct {
	limit time.Duration // zero: none
	once  bool          // only until a server is heard for the first time

	mu    sync.Mutex // guards all below
	timer *time.Timer
	runs  bool
	over  bool // a server was heard, and that was all
}

// newPatience returns a patience that calls end after limit without a server.
func newPatience(limit time.Duration, once bool, end func()) *patience {
	p := &patience{limit: limit, once: once, timer: time.AfterFunc(time.Hour, end)}
	p.timer.Stop()
	return p
}

// failed notes that no server answers.
func (p *patience) failed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limit > 0 && !p.runs && !p.over {
		p.runs = true
		p.timer.Reset(p.limit)
	}
}

// heard notes that a server answers.
func (p *patience) heard() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.runs {
		p.timer.Stop()
	}
	p.runs, p.over = false, p.once
}

// stop ends it.
func (p *patience) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.timer.Stop()
	p.over = true
}
