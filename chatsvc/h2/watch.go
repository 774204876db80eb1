package h2

import "time"

// watch is what a connection remembers from tick to tick.
type watch struct {
	pinged                                 bool // a ping is under way
	calls, write, block                    stay
	stuck, idle, silent, unanswered, heads spell
}

// tick is how often a connection looks whether its client lives.
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

// onTick looks after the connection every tick, and sets when the next one is
// due. A deadline for each read would cost each of them a timer.
func (c *conn) onTick() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, tick := &c.watch, c.srv.tick()
	idle := w.calls.on(len(c.streams) == 0, uint64(c.last))
	reading := w.block.on(c.in.inBlock, c.in.blocks)
	stuck := w.write.on(c.out.writing, c.out.progress.Load())
	switch {
	case c.err != nil:
		return c.err
	case c.goingAway && len(c.streams) == 0:
		return errDrained
	case !c.begun:
		return errMute
	case w.heads.lasts(reading, tick, c.srv.beginTime):
		return errHeaders
	case w.stuck.lasts(stuck, tick, c.srv.writeTimeout):
		return errStuck
	case w.idle.lasts(idle, tick, c.srv.idleTimeout):
		return errIdle
	}
	if c.in.heard {
		w.pinged = false
	}
	silent := w.silent.lasts(!c.in.heard, tick, c.srv.pingAfter)
	switch {
	case w.unanswered.lasts(w.pinged, tick, c.srv.pingTimeout):
		return errSilent
	case silent && !w.pinged:
		w.pinged = true
		c.out.push(appendPing(c.out.pop(), false, [8]byte{}))
		c.out.flushLater()
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(tick))
	return nil
}

// stay is what was seen at the last tick.
type stay struct {
	is bool
	at uint64
}

// on notes whether it is so, with at as the place it has come to, and reports
// whether it has been so since the last tick and has not moved.
func (s *stay) on(is bool, at uint64) bool {
	stayed := is && s.is && s.at == at
	s.is, s.at = is, at
	return stayed
}

// spell is how many ticks something has been so.
type spell int

// lasts counts a tick since whose predecessor it has been so, or not, and
// reports whether it has been so for limit; never if that is 0.
func (s *spell) lasts(so bool, tick, limit time.Duration) bool {
	if !so {
		*s = 0
		return false
	}
	*s++
	return limit > 0 && time.Duration(*s)*tick >= limit
}
