package h2

import (
	"runtime"
)

// send sends a header block unless it is nil, then a and b, then a block of
// trailers unless it is nil. With end it also ends the response. The bytes of b may
// be in use until it returns.
func (s *stream) send(block, a, b, trailers []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	size := len(a) + len(b)
	if block != nil {
		s.expects = false // section 8.1: 100 (Continue) would be too late
		c.out.headers(block, c.peerFrame, s.id, end && size == 0 && trailers == nil)
	}
	shared, ended := len(b) >= minShared, size > 0
	for size > 0 {
		n, err := s.allowance(size)
		if err != nil {
			_ = c.out.flush(shared)
			return err
		}
		size -= n
		c.out.data(s.id, n, a, b, end && size == 0 && trailers == nil)
		ofA := min(n, len(a))
		a, b = a[ofA:], b[n-ofA:]
		if size > 0 && c.out.waiting() > maxWrite {
			if err := c.out.flush(true); err != nil {
				return err
			}
		}
	}
	switch {
	case trailers != nil:
		c.out.headers(trailers, c.peerFrame, s.id, true)
	case end && block == nil && !ended: // all else is sent
		c.out.data(s.id, 0, nil, nil, true)
	}
	if end {
		s.sent = true
		s.leave()
	}
	if c.running > 1 && !shared && !c.out.writing && c.out.waiting() < smallWrite {
		// Let other calls that are about to answer share the write.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	return c.out.flush(shared)
}

// writable returns why nothing may be sent. The caller holds mu.
func (s *stream) writable() error {
	if s.err == nil && s.sent { // by a goroutine that outlives its handler
		return errEnded
	}
	return s.err
}

// inform sends the header block of an interim response. After 100 (Continue), reading the
// body sends no second one.
func (s *stream) inform(block []byte, isContinue bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writable(); err != nil {
		return err
	}
	if isContinue {
		s.expects = false
	}
	c.out.headers(block, c.peerFrame, s.id, false)
	return c.out.flush(false)
}

// allowance waits until the windows allow to send, and takes from them what fits into
// a frame, at most n bytes. The caller holds mu.
func (s *stream) allowance(n int) (int, error) {
	c := s.c
	for s.err == nil && (s.window <= 0 || c.sendWindow <= 0) {
		if err := c.out.flush(false); err != nil {
			return 0, err
		}
		if s.window > 0 && c.sendWindow > 0 || s.err != nil {
			continue
		}
		s.waiting = true
		s.cond.Wait()
		s.waiting = false
	}
	if s.err != nil {
		return 0, s.err
	}
	n = min(n, c.peerFrame)
	n = int(min(int64(n), s.window, c.sendWindow))
	s.window -= int64(n)
	c.sendWindow -= int64(n)
	return n, nil
}
