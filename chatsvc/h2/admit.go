package h2

import (
	"slices"

	"golang.org/x/net/http2"
)

// admit reports whether a header block begins a new call, and whether that call is
// allowed (section 5.1).
func (c *conn) admit(f *http2.MetaHeadersFrame) (fresh bool, err error) {
	id := f.StreamID
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[id]
	switch {
	case id%2 == 0:
		return false, http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= c.last && c.out.wasReset(id):
		return false, nil // sent before the client knew
	case s != nil && s.received && s.sent: // its handler is about to return: it is closed for the client
		return false, http2.ConnectionError(http2.ErrCodeStreamClosed)
	case s != nil && s.received:
		return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	case s != nil:
		return false, s.onTrailers(f)
	case id <= c.last:
		return false, http2.ConnectionError(http2.ErrCodeStreamClosed)
	case c.goingAway:
		return false, nil // the client was told that it will not be answered (section 6.8)
	}
	c.last = id
	switch {
	case f.HasPriority() && f.Priority.StreamDep == id:
		return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	case c.open >= c.srv.maxStreams:
		if err := c.refuse(); err != nil {
			return false, err
		}
		return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
	}
	return true, nil
}

// refuse counts a call beyond what the client may have open, or one that it has
// reset before a handler was free, and returns an error if there are too many
// (CVE-2023-44487). The caller holds mu.
func (c *conn) refuse() error {
	if c.refused++; c.refused > refusalsPerStream*c.srv.maxStreams {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return nil
}

// startPending starts the oldest waiting calls for which handlers are free. The
// caller holds mu.
func (c *conn) startPending() {
	for len(c.pending) > 0 && c.running < c.srv.maxStreams && c.err == nil {
		s := c.pending[0]
		c.pending[0] = nil
		if c.pending = c.pending[1:]; len(c.pending) == 0 {
			c.pending = nil
		}
		s.pending = false
		c.running++
		c.srv.workers.run(s)
	}
}

// forget drops a call that has ended while it was pending. The caller holds mu.
func (c *conn) forget(s *stream) {
	s.pending = false
	if i := slices.Index(c.pending, s); i >= 0 {
		c.pending = slices.Delete(c.pending, i, i+1)
	}
	delete(c.streams, s.id)
	s.bodyClosed = true
	s.drop()
	c.out.flushLater()
	c.endIfDrained()
}
