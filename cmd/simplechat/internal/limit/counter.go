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

// scope is which of two limits was hit, as the end of the limit's name.
type scope string

const (
	none       scope = ""
	inTotal    scope = " in total"
	perAddress scope = " per address"
)

// take counts one more for name and returns none, unless that exceeds the total limit or
// perName. A perName of zero is no limit. Names are addresses where the scope matters.
func (c *counter) take(name string, perName int) scope {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case perName > 0 && c.names[name] >= perName:
		return perAddress
	case c.limit > 0 && c.total >= c.limit:
		return inTotal
	}
	c.total++
	c.names[name]++
	return none
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
