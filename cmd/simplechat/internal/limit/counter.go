package limit

import "sync"

// counter counts what is held, in all and by name. It is safe for concurrent use.
type counter struct {
	limit int // in all; 0: none

	mu    sync.Mutex // guards all below
	total int
	names map[string]int // those that hold something
}

func newCounter(limit int) *counter {
	return &counter{limit: limit, names: make(map[string]int)}
}

// take counts one more for name, unless that exceeds the limit in all or, if it is not
// zero, perName. It reports whether it did.
func (c *counter) take(name string, perName int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit > 0 && c.total >= c.limit || perName > 0 && c.names[name] >= perName {
		return false
	}
	c.total++
	c.names[name]++
	return true
}

// give ends what take began.
func (c *counter) give(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.names[name]--; c.names[name] == 0 {
		delete(c.names, name)
	}
}
