package h2

import "time"

// liveness is the state of a connection from which each tick decides whether the client
// still lives.
type liveness struct {
	pinged                                 bool // a ping is under way
	calls, write, block                    condition
	stuck, idle, silent, unanswered, heads ticks
}

// tick is the time between two checks of a connection.
func (s *Server) tick() time.Duration {
	tick := min(s.writeTimeout/2, s.beginTime)
	if s.pingAfter > 0 {
		tick = min(tick, s.pingAfter/2, s.pingTimeout)
	}
	if s.idleTimeout > 0 {
		tick = min(tick, s.idleTimeout/2)
	}
	return max(tick, time.Millisecond)
}

// onTick checks the connection and sets the time of the next check. It returns an error
// to end the connection. A deadline for each read would cost a timer for each read.
func (c *conn) onTick() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, tick := &c.liveness, c.srv.tick()
	idle := w.calls.persists(len(c.streams) == 0, uint64(c.last))
	reading := w.block.persists(c.in.inBlock, c.in.blocks)
	stuck := w.write.persists(c.out.writing, c.out.progress.Load())
	switch {
	case c.err != nil:
		return c.err
	case c.goingAway && len(c.streams) == 0:
		return errDrained
	case !c.begun:
		return errNoSettings
	case w.heads.haveReached(reading, tick, c.srv.beginTime):
		return errSlowHeaders
	case w.stuck.haveReached(stuck, tick, c.srv.writeTimeout):
		return errStuck
	case w.idle.haveReached(idle, tick, c.srv.idleTimeout):
		return errIdle
	}
	if c.in.heard {
		w.pinged = false
	}
	silent := w.silent.haveReached(!c.in.heard, tick, c.srv.pingAfter)
	switch {
	case w.unanswered.haveReached(w.pinged, tick, c.srv.pingTimeout):
		return errSilent
	case silent && !w.pinged:
		w.pinged = true
		c.out.push(appendPing(c.out.pop(), false, [8]byte{}))
		c.out.flushLater()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(tick))
	return nil
}

// condition is the observation at the last tick: whether it held, and how far the
// connection had come.
type condition struct {
	holds    bool
	progress uint64
}

// persists notes whether the condition holds now and how far the connection has come. It
// reports whether the condition has held since the last tick without any progress.
func (c *condition) persists(holds bool, progress uint64) bool {
	persists := holds && c.holds && c.progress == progress
	c.holds, c.progress = holds, progress
	return persists
}

// ticks counts the ticks in a row for which a condition has held.
type ticks int

// haveReached adds a tick if the condition holds, and starts again at zero otherwise. It
// reports whether the condition has held for limit; never if limit is zero.
func (t *ticks) haveReached(holds bool, tick, limit time.Duration) bool {
	if !holds {
		*t = 0
		return false
	}
	*t++
	return limit > 0 && time.Duration(*t)*tick >= limit
}
