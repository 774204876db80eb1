package h2

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// stream is one call. Its fields are guarded by the connection's mu, those of
// the response excepted.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	req    *http.Request
	res    response

	cond    sync.Cond // anything below has changed
	waiting bool      // for the connection's window
	window  int       // what the client takes
	err     error     // why nothing more can be sent or received

	open     bool // counts among the streams that the client may have
	received bool // the client has ended the request, or the stream
	sent     bool // the server has ended the response, or the stream

	body       []byte // what came and was not read yet
	taken      int    // how much of body was read
	declared   int64  // Content-Length, or -1
	got        int64  // bytes of the body so far
	recvWindow int    // what the client may still send
	unread     int    // bytes that were read and are not granted again yet
	bodyClosed bool
	expects    bool // the client waits for 100 (Continue)

	readTimer, writeTimer *time.Timer
	readExpired           bool
}

func newStream(c *conn, id uint32) *stream {
	s := &stream{c: c, id: id, declared: -1, recvWindow: streamWindow}
	s.cond.L = &c.mu
	s.res.s = s
	c.mu.Lock()
	s.window = c.peerWindow // settings that come later find the stream in the connection's map: both are the reading goroutine's
	c.mu.Unlock()
	return s
}

// run runs the handler. It is called once, from a goroutine of its own.
func (s *stream) run() {
	defer s.end()
	if s.res.refused != 0 {
		s.res.WriteHeader(s.res.refused)
		return
	}
	s.c.srv.handler.ServeHTTP(&s.res, s.req)
}

// end ends the response when the handler has returned or panicked.
func (s *stream) end() {
	c := s.c
	if err := recover(); err != nil {
		if err != http.ErrAbortHandler { //nolint:errorlint // a panic's value, as net/http compares it
			c.srv.logf("http2: panic serving %s: %v\n%s", c.remote, err, debug.Stack())
		}
		c.mu.Lock()
		s.abort(errPanic, http2.ErrCodeInternal)
		c.mu.Unlock()
	} else {
		s.res.finish()
	}
	s.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.readTimer != nil {
		s.readTimer.Stop()
	}
	if s.writeTimer != nil {
		s.writeTimer.Stop()
	}
	s.bodyClosed = true
	s.drop()
	if !s.sent {
		s.abort(net.ErrClosed, http2.ErrCodeCancel)
	}
	if !s.received { // the client need not send the rest (section 8.1)
		c.out.reset(s.id, http2.ErrCodeNo)
		s.received = true
	}
	if s.err == nil {
		c.refused = 0
	}
	delete(c.streams, s.id)
	c.running--
	_ = c.out.flush(false)
	c.endIfDrained()
}

// fail makes reads and writes return err, and ends the call's context. The
// caller holds mu.
func (s *stream) fail(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.cancel()
	s.cond.Broadcast()
}

// abort is fail, and tells the client. The caller holds mu.
func (s *stream) abort(err error, code http2.ErrCode) {
	s.fail(err)
	if s.sent {
		return
	}
	s.sent, s.received = true, true
	s.leave()
	s.c.out.reset(s.id, code)
	s.c.out.flushLater()
}

// leave stops counting the stream among those that the client has open. The
// caller holds mu.
func (s *stream) leave() {
	if s.open {
		s.open = false
		s.c.open--
	}
}

// send sends a header block, if there is one, then a and b, then a block of
// trailers, if there is one, and ends the response if end is set. Bytes of b may
// be used until it returns.
func (s *stream) send(block, a, b, trailers []byte, end bool) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	size := len(a) + len(b)
	if block != nil {
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
		if limit := c.out.limit(); size > 0 && c.out.waiting() > limit {
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
		// Calls that are about to answer may share the write.
		c.mu.Unlock()
		runtime.Gosched()
		c.mu.Lock()
	}
	return c.out.flush(shared)
}

// allowance waits until the windows allow to send, and takes as much of them as
// fits a frame, at most n. The caller holds mu.
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
	n = min(n, s.window, c.sendWindow, c.peerFrame)
	s.window -= n
	c.sendWindow -= n
	return n, nil
}

// onData takes a frame of the body, of which size bytes count for flow control.
// The caller holds mu.
func (s *stream) onData(data []byte, size int, end bool) error {
	s.got += int64(len(data))
	switch s.recvWindow -= size; {
	case s.recvWindow < 0:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	case s.declared >= 0 && s.got > s.declared:
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol} // section 8.1.1
	}
	padding := size - len(data)
	if s.bodyClosed {
		padding = size
	} else if len(data) > 0 {
		s.body = append(s.body, data...)
		s.cond.Broadcast()
	}
	if padding > 0 {
		s.grant(padding)
		s.c.out.flushLater()
	}
	if end {
		return s.endReceived()
	}
	return nil
}

// endReceived notes the end of the request. The caller holds mu.
func (s *stream) endReceived() error {
	if s.declared >= 0 && s.got != s.declared {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol} // section 8.1.1
	}
	s.received = true
	s.cond.Broadcast()
	return nil
}

// grant lets the client send n bytes more, once it is worth a frame. The caller
// holds mu, and flushes.
func (s *stream) grant(n int) {
	s.c.grant(n)
	s.unread += n
	if s.received || s.unread < streamWindow/2 {
		return
	}
	s.c.out.push(appendWindowUpdate(s.c.out.pop(), s.id, s.unread))
	s.recvWindow += s.unread
	s.unread = 0
}

// drop lets go of what was not read. The caller holds mu.
func (s *stream) drop() {
	if n := len(s.body) - s.taken; n > 0 {
		s.c.grant(n)
	}
	s.body, s.taken = nil, 0
}

// requestBody is the request's body.
type requestBody struct{ s *stream }

// Read implements [io.Reader].
func (b requestBody) Read(p []byte) (int, error) {
	s, c := b.s, b.s.c
	if len(p) == 0 {
		return 0, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case s.bodyClosed:
			return 0, http.ErrBodyReadAfterClose
		case s.err != nil:
			return 0, s.err
		case s.taken < len(s.body):
			n := copy(p, s.body[s.taken:])
			if s.taken += n; s.taken == len(s.body) {
				s.body, s.taken = s.body[:0], 0
			}
			s.grant(n)
			return n, c.out.flush(false)
		case s.received:
			return 0, io.EOF
		case s.readExpired:
			return 0, os.ErrDeadlineExceeded
		case s.expects:
			s.expects = false
			c.out.headers(appendStatus(nil, http.StatusContinue), c.peerFrame, s.id, false)
			_ = c.out.flush(false)
		default:
			s.cond.Wait()
		}
	}
}

// Close implements [io.Closer].
func (b requestBody) Close() error {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	b.s.bodyClosed = true
	b.s.drop()
	return b.s.c.out.flush(false)
}

// setReadDeadline makes reads of the body fail from t on.
func (s *stream) setReadDeadline(t time.Time) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.readExpired = false
	setTimer(&s.readTimer, t, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		s.readExpired = true
		s.cond.Broadcast()
	})
}

// setWriteDeadline resets the stream at t, unless the response has ended.
func (s *stream) setWriteDeadline(t time.Time) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	setTimer(&s.writeTimer, t, func() {
		s.c.mu.Lock()
		defer s.c.mu.Unlock()
		if !s.sent {
			s.abort(os.ErrDeadlineExceeded, http2.ErrCodeInternal) // as net/http does
		}
	})
}

// setTimer makes timer, or nothing if t is zero, call expire at t.
func setTimer(timer **time.Timer, t time.Time, expire func()) {
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if !t.IsZero() {
		*timer = time.AfterFunc(time.Until(t), expire)
	}
}
