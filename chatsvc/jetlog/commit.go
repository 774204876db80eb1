package jetlog

import (
	"runtime"
	"sync"
)

// committer ends the appends that JetStream has stored, once they are as durable
// as the log promises. Those that come while it is at work share the next write
// to the disk.
type committer struct {
	disk   *disk
	recent *recent

	mu      sync.Mutex // guards all below
	waiting []*pendingAppend
	busy    bool // a goroutine is at work
	closed  bool
	idle    sync.Cond // of mu: not busy any more
}

func newCommitter(d *disk, r *recent) *committer {
	c := &committer{disk: d, recent: r}
	c.idle.L = &c.mu
	return c
}

// add takes a, whose result is in it, to end it with those that wait. It is
// called in the stream's order.
func (c *committer) add(a *pendingAppend) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		a.end(appendedNowhere, ErrClosed)
		return
	}
	c.waiting = append(c.waiting, a)
	if !c.busy {
		c.busy = true
		go c.work()
	}
}

// work commits until nobody waits.
func (c *committer) work() {
	for appends := c.next(); appends != nil; appends = c.next() {
		err := c.disk.settle(appends)
		if err == nil {
			c.recent.add(appends)
		}
		for _, a := range appends {
			if err != nil {
				a.appended = appendedNowhere
			}
			a.end(a.appended, err)
		}
	}
}

// next takes all who wait. It ends the work if nobody does.
func (c *committer) next() []*pendingAppend {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n := 0; len(c.waiting) > n; {
		n = len(c.waiting)
		c.mu.Unlock()
		runtime.Gosched() // others that come together
		c.mu.Lock()
	}
	appends := c.waiting
	c.waiting = nil
	if appends == nil {
		c.busy = false
		c.idle.Broadcast()
	}
	return appends
}

// close ends what is under way, and takes nothing more.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.busy {
		c.idle.Wait()
	}
}
