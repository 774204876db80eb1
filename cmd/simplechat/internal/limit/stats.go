package limit

import "maps"

// Stats is what is held and was refused.
type Stats struct {
	// Connections, Streams and PublicCalls are held at the moment.
	Connections, Streams, PublicCalls int
	// Refused says how often each limit was hit since the start, by the names in the
	// log: there is a fixed number of them.
	Refused map[string]int64
}

// Stats returns what is held and was refused.
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

// held returns what is held in all.
func (c *counter) held() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}
