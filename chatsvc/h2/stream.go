package h2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

var (
	errPanic = errors.New("the handler panicked")
	errEnded = errors.New("the response has ended")
)

// restTime is what a client has to send the rest of a request that was answered
// early, before its stream is reset: curl 7.88 may drop an answer whose stream
// was reset before it was read.
const restTime = 100 * time.Millisecond

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
	window  int64     // what the client takes
	err     error     // why nothing more can be sent or received

	open     bool // counts among the streams that the client may have
	pending  bool // waits for a handler to return
	complete bool // the request is there to its end
	received bool // nothing more is to come: it is complete, or the stream has ended
	sent     bool // nothing more may be sent: the response or the stream has ended

	trailer    http.Header // the request's, until its body is read
	body       []byte      // what came and was not read yet
	taken      int         // how much of body was read
	declared   int64       // Content-Length, or -1
	got        int64       // bytes of the body so far
	recvWindow int         // what the client may still send
	unread     int         // bytes that were read and are not granted again yet
	bodyClosed bool
	expects    bool // the client waits for 100 (Continue)

	readTimer, writeTimer deadline
	readExpired           bool
}

// newStream is the reading goroutine's, like peerWindow: settings that come
// later find the stream in the connection's map.
func newStream(c *conn, id uint32) *stream {
	s := &stream{c: c, id: id, declared: -1, recvWindow: streamWindow, window: c.peerWindow}
	s.cond.L = &c.mu
	s.res.s = s
	return s
}

// run runs the handler. It is called once, from a goroutine of its own.
func (s *stream) run() {
	defer s.end()
	returned := false
	defer func() { // before the stream ends, whatever the handler does
		if !returned {
			s.panicked(recover())
		}
	}()
	if s.res.refused != 0 {
		s.res.WriteHeader(s.res.refused)
	} else {
		s.c.srv.handler.ServeHTTP(&s.res, s.req)
	}
	s.res.finish()
	returned = true
}

// panicked resets the stream after a panic of the handler's, or after
// [runtime.Goexit], which has no value.
func (s *stream) panicked(value any) {
	c := s.c
	if value != nil && value != http.ErrAbortHandler { //nolint:errorlint // a panic's value, as net/http compares it
		c.srv.logf("http2: panic serving %s: %v\n%s", c.remote, value, debug.Stack())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.abort(errPanic, http2.ErrCodeInternal)
}

// end ends the stream after its handler.
func (s *stream) end() {
	s.cancel()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	s.readTimer.stop()
	s.writeTimer.stop()
	s.bodyClosed = true
	s.drop()
	if !s.sent {
		s.abort(net.ErrClosed, http2.ErrCodeCancel)
	}
	if s.err == nil {
		c.refused = 0
	}
	s.cond.Broadcast() // whatever still reads the body, or writes
	c.running--
	c.startPending()
	if s.received {
		delete(c.streams, s.id)
	} else {
		time.AfterFunc(restTime, s.refuseRest)
	}
	_ = c.out.flush(false)
	c.endIfDrained()
}

// refuseRest tells the client that it need not send the rest of the request
// (section 8.1), unless it has.
func (s *stream) refuseRest() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !s.received {
		s.received = true
		s.leave()
		c.out.reset(s.id, http2.ErrCodeNo)
		c.out.flushLater()
	}
	delete(c.streams, s.id)
	c.endIfDrained()
}

// fail makes writes, and reads of what is not there yet, return err, and ends
// the call's context. The caller holds mu.
func (s *stream) fail(err error) {
	if s.err != nil {
		return
	}
	s.err = err
	s.cancel()
	s.cond.Broadcast()
}

// close is fail for a stream that has ended in both directions. The caller
// holds mu.
func (s *stream) close(err error) {
	s.fail(err)
	s.received, s.sent = true, true
	s.leave()
	if s.pending {
		s.c.forget(s)
	}
}

// abort is fail, and tells the client. The caller holds mu.
func (s *stream) abort(err error, code http2.ErrCode) {
	if s.sent {
		s.fail(err)
		return
	}
	s.close(err)
	s.c.out.reset(s.id, code)
	s.c.out.flushLater()
}

// leave stops counting the stream among those that the client has open, once
// both sides have ended it (section 5.1.2). The caller holds mu.
func (s *stream) leave() {
	if s.open && s.received && s.sent {
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
		// Calls that are about to answer may share the write.
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

// inform sends the header block of an interim response. After one that is 100
// (Continue), reading the body sends none.
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
	n = min(n, c.peerFrame)
	n = int(min(int64(n), s.window, c.sendWindow))
	s.window -= int64(n)
	c.sendWindow -= int64(n)
	return n, nil
}
