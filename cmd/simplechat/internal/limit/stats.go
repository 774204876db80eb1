package limit

import "maps"

// Stats are the resources in use, and the counts of refusals.
type Stats struct {
	// Connections, Streams and PublicCalls are the current numbers.
	Connections, Streams, PublicCalls int
	// Refused is how often each limit was hit since the start, by its name in the log.
	// The names are fixed.
	Refused map[string]int64
}

// Stats returns the current numbers and the counts of refusals.
func (l *Limits) Stats() Stats {
	return Stats{
		Connections: l.connections.held(),
		Streams:     l.streams.held(),
		PublicCalls: l.public.held(),
		Refused:     l.counts(),
	}
}

func (l *Limits) counts() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]int64, len(l.refused))
	for kind, r := range maps.All(l.refused) {
		counts[kind] = r.count
	}
	return counts
}

// held returns the total.
func (c *counter) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}
