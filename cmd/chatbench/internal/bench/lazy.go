package bench

import (
	"net"
	"time"
)

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
