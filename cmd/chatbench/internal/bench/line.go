package bench

// kind tells how a subscriber reads.
type kind int

const (
	healthy  kind = iota
	slow          // at most slowRate bytes a second
	stuck         // nothing after its first batch
	toggling      // all, but closes and reopens its windows
)

// isLazy reports whether the kernel and flow control are to hold little for k.
func (k kind) isLazy() bool { return k == slow || k == stuck }

// line is the plan of one connection of subscribers. They are all of a kind:
// a stuck one stops its whole connection.
type line struct {
	kind    kind
	streams int
}

// lines shares the subscribers out to connections, the stuck and the slow to
// connections of their own, in proportion.
func (w Workload) lines() []line {
	var all []line
	share := func(k kind, streams int) {
		if streams == 0 {
			return
		}
		connections := max(1, w.Connections*streams/w.Subscribers)
		for i := range connections {
			all = append(all, line{k, streams*(i+1)/connections - streams*i/connections})
		}
	}
	stuckOnes := w.Subscribers * w.Stuck / 100
	slowOnes := w.Subscribers * w.Slow / 100
	share(healthy, w.Subscribers-stuckOnes-slowOnes)
	share(slow, slowOnes)
	share(stuck, stuckOnes)
	for range w.Toggling {
		all = append(all, line{toggling, 1})
	}
	return all
}
