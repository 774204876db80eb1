package bench

import (
	"net"
	"time"
)

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

// lines distributes the subscribers over connections. Stuck and slow subscribers get a
// proportional number of connections of their own.
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

// lazyConn is the connection of subscribers that are slow or stuck, once all of
// them have their first batch.
type lazyConn struct {
	net.Conn

	subs []*subscriber
	rate int // bytes a second; 0: it reads nothing more
	done <-chan struct{}
	woke bool
}

// lazyTick is the time between two reads of a slow connection.
const lazyTick = 50 * time.Millisecond

// Read implements [net.Conn].
func (c *lazyConn) Read(p []byte) (int, error) {
	if !c.woke {
		for _, s := range c.subs {
			if !s.ready.Load() {
				return c.Conn.Read(p)
			}
		}
		c.woke = true
	}
	if c.rate == 0 {
		<-c.done
		return 0, net.ErrClosed
	}
	select {
	case <-c.done:
		return 0, net.ErrClosed
	case <-time.After(lazyTick):
	}
	most := max(1, c.rate*int(lazyTick)/int(time.Second))
	return c.Conn.Read(p[:min(len(p), most)])
}
