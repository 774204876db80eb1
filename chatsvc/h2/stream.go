package h2

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

var (
	errPanic = errors.New("the handler panicked")
	errEnded = errors.New("the response has ended")
)

// restTime is how long a client may send the rest of a request that was answered early,
// before its stream is reset. curl 7.88 may drop a response whose stream was reset before
// it has read it.
const restTime = 100 * time.Millisecond

// stream is one call. Its fields, except for the response, are guarded by the
// connection's mu.
type stream struct {
	c      *conn
	id     uint32
	cancel context.CancelFunc
	req    *http.Request
	res    response

	cond    sync.Cond // anything below has changed
	waiting bool      // for the connection's window
	window  int64     // bytes that the client accepts
	err     error     // why nothing more can be sent or received

	open     bool // counts among the streams that the client may have
	pending  bool // waits for a handler to return
	complete bool // the whole request has arrived
	received bool // nothing more is expected: the request is complete, or the stream has ended
	sent     bool // nothing more may be sent: the response or the stream has ended

	trailer    http.Header // the request's, until its body is read
	body       []byte      // bytes that have arrived and were not dropped
	taken      int         // how many bytes of body were read
	declared   int64       // Content-Length, or -1
	got        int64       // bytes of the body so far
	recvWindow int         // bytes that the client may still send
	unread     int         // bytes that were read and not granted again yet
	bodyClosed bool
	expects    bool // the client waits for 100 (Continue)

	readTimer, writeTimer deadline
	readExpired           bool
}

// newStream is called by the reading goroutine, which owns peerWindow. Later settings
// find the stream in the connection's map.
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
	defer func() { // before the stream ends, regardless of the handler
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

// panicked resets the stream after the handler has panicked, or has called
// [runtime.Goexit]; then the value is nil.
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
	s.cond.Broadcast() // wakes goroutines that still read the body, or write
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

// fail ends the call's context, and makes writes return err, and reads too after they have
// returned all that has arrived. The caller holds mu.
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

// leave stops counting the stream as open if both sides have ended it (section 5.1.2).
// The caller holds mu.
func (s *stream) leave() {
	if s.open && s.received && s.sent {
		s.open = false
		s.c.open--
	}
}
