package sim

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

// points decides how long goroutines wait at the named places of the code. It is safe for
// concurrent use.
type points struct {
	reached *tally
	disk    func(fault.Point) // nil: there is none

	mu    sync.Mutex // guards all below
	rng   *rand.Rand
	waits bool // otherwise goroutines give the processor away at most
}

// newPoints makes the points of a run work until fault.Set(nil).
func newPoints(rng *rand.Rand, reached *tally) *points {
	p := &points{rng: rng, reached: reached, waits: true}
	fault.Set(p.at)
	return p
}

// calm ends the waits.
func (p *points) calm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waits = false
}

func (p *points) at(point fault.Point) {
	if p.disk != nil && (point == fault.Committed || point == fault.Synced) {
		p.disk(point)
	}
	p.mu.Lock()
	n, waits := p.rng.IntN(64), p.waits
	d := time.Duration(p.rng.IntN(30)) * time.Millisecond
	p.mu.Unlock()
	switch {
	case n == 0 && waits:
		p.reached.add("point: waits where " + string(point))
		<-time.After(d)
	case n < 8:
		p.reached.add("point: yields where " + string(point))
		for range n {
			runtime.Gosched()
		}
	}
}
