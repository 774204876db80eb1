package limit

import "sync"

// counter counts resources in use, in total and by name. It is safe for concurrent use.
type counter struct {
	limit int // in total; 0: no limit

	mu    sync.Mutex // guards all below
	total int
	names map[string]int // counts by name, without zeros
}

func newCounter(limit int) *counter {
	return &counter{limit: limit, names: make(map[string]int)}
}

// take counts one more for name, and reports true, unless that exceeds the total limit or
// perName. A perName of zero is no limit.
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

// give counts one less for name, after take.
func (c *counter) give(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.names[name]--; c.names[name] == 0 {
		delete(c.names, name)
	}
}
