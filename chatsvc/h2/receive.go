package h2

import (
	"fmt"

	"golang.org/x/net/http2"
)

// onHeaders handles the header block of a new call, or the trailers of an open one.
func (c *conn) onHeaders(f *http2.MetaHeadersFrame) error {
	if fresh, err := c.admit(f); !fresh || err != nil {
		return err
	}
	s := newStream(c, f.StreamID)
	if err := s.readHeaders(f); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.streams[s.id] = s
	s.open = true
	c.open++
	if c.running < c.srv.maxStreams {
		c.running++
		c.starting = append(c.starting, s)
	} else { // handlers may return later than their calls end for the client
		s.pending = true
		c.pending = append(c.pending, s)
	}
	if f.StreamEnded() {
		return s.endReceived()
	}
	return nil
}

// onData handles a frame of a call's body.
func (c *conn) onData(f *http2.DataFrame) error {
	id, size := f.StreamID, int(f.Length)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.wasOpen(id); err != nil {
		return err
	}
	if c.recvWindow -= size; c.recvWindow < 0 {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	if s := c.streams[id]; s != nil && !s.received {
		return s.onData(f.Data(), size, f.StreamEnded())
	}
	c.grant(size)
	c.out.flushLater()
	if id > c.last || c.out.wasReset(id) {
		return nil // of a call that the client was told not to wait for
	}
	return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
}

// grant lets the client send n bytes more over the connection. It queues a
// WINDOW_UPDATE only when enough bytes have come together. The caller holds mu, and
// flushes.
func (c *conn) grant(n int) {
	c.unread += n
	if c.unread >= connWindow/2 {
		c.out.push(appendWindowUpdate(c.out.pop(), 0, c.unread))
		c.recvWindow += c.unread
		c.unread = 0
	}
}

// wasOpen returns an error if the client has never opened the stream (section
// 5.1). The caller holds mu.
func (c *conn) wasOpen(id uint32) error {
	if id > c.last && !c.goingAway || id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// onPing answers a ping, or handles the answer to the server's own ping.
func (c *conn) onPing(f *http2.PingFrame) error {
	if f.IsAck() {
		return nil // every frame counts as a sign of life
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.push(appendPing(c.out.pop(), true, f.Data))
	return c.answer()
}

// answer flushes an answer to a frame of the client. It returns an error if too many
// answers wait, because the client reads none of them. The caller holds mu.
func (c *conn) answer() error {
	if c.out.answers++; c.out.answers > maxAnswers {
		return errUnreadAnswers
	}
	c.out.flushLater()
	return nil
}

// onReset ends a call that the client no longer wants.
func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[f.StreamID]
	if s == nil {
		return c.wasOpen(f.StreamID)
	}
	wasPending := s.pending
	s.close(fmt.Errorf("the client reset the stream: %w", http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode}))
	if wasPending {
		return c.refuse()
	}
	return nil
}

// checkMalformed returns the error for a frame that the framer reports as a violation
// on one stream: a connection error if the connection must not continue.
func (c *conn) checkMalformed(head http2.FrameHeader, broken http2.StreamError) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if head.Type == http2.FrameWindowUpdate {
		if err := c.wasOpen(broken.StreamID); err != nil {
			return err
		}
	}
	if head.Type == http2.FrameHeaders {
		if broken.Cause == nil { // the block was not decoded, and so all later ones are wrong
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if broken.StreamID%2 == 1 && !c.goingAway {
			c.last = max(c.last, broken.StreamID)
		}
	}
	return broken
}

// reset resets a stream after an error of the client. An idle stream stays idle.
func (c *conn) reset(id uint32, code http2.ErrCode) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		s.close(http2.StreamError{StreamID: id, Code: code})
	}
	switch {
	case id <= c.last:
		c.out.reset(id, code)
	case c.goingAway: // the client was told that it will not be answered
		return nil
	default:
		c.out.push(appendReset(c.out.pop(), id, code))
	}
	return c.answer()
}
