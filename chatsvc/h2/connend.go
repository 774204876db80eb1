package h2

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// shutdown accepts no new calls, and ends the connection when all calls have ended.
func (c *conn) shutdown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.goingAway {
		return
	}
	c.goingAway = true
	c.out.push(appendGoAway(c.out.pop(), c.last, http2.ErrCodeNo))
	c.out.flushLater()
	c.endIfDrained()
}

// endIfDrained wakes the reading goroutine after shutdown if no call is left. The caller
// holds mu.
func (c *conn) endIfDrained() {
	if c.goingAway && len(c.streams) == 0 && c.err == nil { // pending calls are among the streams
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}

// close ends the connection at once.
func (c *conn) close(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	_ = c.nc.Close()
}

// end ends all calls, tells the client why, and closes the connection. It first reads the
// rest of what the client sends: with unread bytes the kernel would reset the connection
// and drop what was written before.
func (c *conn) end(err error) {
	c.start() // calls that have begun are ended like all others
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.pending = nil // nobody would read their answers
	for _, s := range c.streams {
		s.fail(fmt.Errorf("the connection has ended: %w", c.err))
	}
	code, tell := http2.ErrCodeNo, !c.goingAway
	var broken http2.ConnectionError
	switch {
	case errors.As(err, &broken):
		code, tell = http2.ErrCode(broken), true
	case errors.Is(err, http2.ErrFrameTooLarge):
		code, tell = http2.ErrCodeFrameSize, true
	case errors.Is(err, errUnreadAnswers), errors.Is(err, errSlowHeaders):
		code = http2.ErrCodeEnhanceYourCalm
	case errors.Is(err, errReaderPanic):
		code = http2.ErrCodeInternal
	case errors.Is(err, errIdle), errors.Is(err, errDrained):
	default: // the client is gone, or does not speak HTTP/2
		tell = false
	}
	if tell {
		c.out.push(appendGoAway(c.out.pop(), c.last, code))
	}
	linger := tell || errors.Is(err, errDrained)
	if linger {
		_ = c.nc.SetDeadline(time.Now().Add(lingerTime))
		_ = c.out.flush(true)
	}
	c.out.fail(c.err)
	c.mu.Unlock()
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && linger && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.nc)
	}
	_ = c.nc.Close()
}
