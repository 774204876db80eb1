package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// connWindow and streamWindow are what clients may send before their bytes
	// are read, and so what they can make the server hold.
	connWindow   = 1 << 20
	streamWindow = 256 << 10
	// maxQueued is how many bytes of frames that answer the client's may wait
	// for a client that does not read, before it is cut off.
	maxQueued = 1 << 20
	// refusalsPerStream, times the calls that a client may have open, is how
	// many of its calls may be refused without one that ends, before the
	// connection does.
	refusalsPerStream = 4
)

var (
	errPreface = errors.New("no HTTP/2 preface")
	errDrained = errors.New("the server is shutting down")
	errSilent  = errors.New("the client does not answer a ping")
	errStuck   = errors.New("the client takes no bytes")
	errIdle    = errors.New("no calls for too long")
	errRefuses = errors.New("the client reads no answers to its control frames")
)

// conn is one HTTP/2 connection. Its goroutine reads; handlers write.
type conn struct {
	srv    *Server
	nc     net.Conn
	tls    *tls.ConnectionState
	remote string
	base   context.Context // of every call

	// The fields up to mu are the reading goroutine's.
	in       reader
	framer   *http2.Framer
	starting []*stream // calls that begin when what has been received is read

	pinged                          bool   // a ping is under way
	writes                          uint64 // the queue's at the last tick
	stuck, idle, silent, unanswered spell

	mu         sync.Mutex // guards all below, and the streams
	out        queue
	streams    map[uint32]*stream // neither side has ended both directions, or the handler runs
	open       int                // of streams, those that have not ended
	running    int                // handlers, also of streams that were reset
	refused    int                // calls refused since the last one that ended well
	last       uint32             // highest stream that the client has opened
	sendWindow int                // what the client takes, over all streams
	peerWindow int                // what it takes of a new stream
	peerFrame  int                // largest frame that it takes
	recvWindow int                // what the client may still send
	unread     int                // bytes that were read and are not granted again yet
	goingAway  bool               // no new streams
	err        error              // why the connection has ended; nil while it lasts
}

// serveConn serves nc, from which the preface was read if it is plain TCP,
// until it ends.
func (s *Server) serveConn(nc net.Conn, state *tls.ConnectionState) {
	c := &conn{
		srv:        s,
		nc:         nc,
		tls:        state,
		remote:     nc.RemoteAddr().String(),
		streams:    make(map[uint32]*stream),
		sendWindow: initialWindow,
		peerWindow: initialWindow,
		peerFrame:  maxReadFrame,
		recvWindow: connWindow,
	}
	c.out.init(&c.mu, nc)
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	defer s.remove(c)
	c.base = s.baseContext(nc)
	c.in = reader{nc: nc, tick: s.tick(), onTick: c.onTick}
	c.in.arm()
	err := c.serve()
	c.end(err)
}

// baseContext returns the context that net/http gives to calls, without an end
// of its own: each call's ends with it.
func (s *Server) baseContext(nc net.Conn) context.Context {
	ctx := context.Background()
	if s.http.BaseContext != nil {
		ctx = s.http.BaseContext(nil)
	}
	ctx = context.WithValue(ctx, http.ServerContextKey, s.http)
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, nc.LocalAddr())
	if s.http.ConnContext != nil {
		ctx = s.http.ConnContext(ctx, nc)
	}
	return ctx
}

// tick is how often a connection looks whether its client lives.
func (s *Server) tick() time.Duration {
	tick := s.writeTimeout / 2
	if s.pingAfter > 0 {
		tick = min(tick, s.pingAfter/2, s.pingTimeout)
	}
	if s.idleTimeout > 0 {
		tick = min(tick, s.idleTimeout/2)
	}
	return max(tick, time.Millisecond)
}

// serve reads frames until the connection ends, and returns why.
func (c *conn) serve() error {
	if c.tls != nil {
		if _, complete, err := readPreface(c.nc); err != nil || !complete {
			return errors.Join(err, errPreface)
		}
	}
	c.framer = http2.NewFramer(nil, &c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(maxReadFrame)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = c.srv.maxHeader
	c.mu.Lock()
	hello := appendSettings(c.out.pop(),
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(c.srv.maxStreams)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: c.srv.maxHeader})
	c.out.push(appendWindowUpdate(hello, 0, connWindow-initialWindow))
	c.out.flushLater()
	c.mu.Unlock()
	first, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	settings, ok := first.(*http2.SettingsFrame)
	if !ok || settings.IsAck() {
		return http2.ConnectionError(http2.ErrCodeProtocol) // section 3.4
	}
	for err = c.onSettings(settings); ; err = c.next() {
		var reset http2.StreamError
		if errors.As(err, &reset) {
			c.reset(reset.StreamID, reset.Code)
		} else if err != nil {
			return err
		}
	}
}

// next reads and handles one frame.
func (c *conn) next() error {
	if c.in.buffered() == 0 {
		c.start()
	}
	frame, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	switch f := frame.(type) {
	case *http2.MetaHeadersFrame:
		return c.onHeaders(f)
	case *http2.DataFrame:
		return c.onData(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.PriorityFrame:
		if f.StreamDep == f.StreamID {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeProtocol}
		}
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // section 8.4
	}
	return nil // GOAWAY changes nothing: what was begun goes on; unknown frames are ignored (section 5.5)
}

// start begins the calls whose headers were received. Those whose bodies come
// right behind are there by then, and their handlers need not wait for them.
func (c *conn) start() {
	for i, s := range c.starting {
		c.starting[i] = nil
		c.srv.workers.run(s)
	}
	c.starting = c.starting[:0]
}

// onHeaders takes the header block of a new call, or the trailers of one.
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
	c.running++
	c.starting = append(c.starting, s)
	if f.StreamEnded() {
		return s.endReceived()
	}
	return nil
}

// admit reports whether a header block begins a new call that may begin
// (section 5.1).
func (c *conn) admit(f *http2.MetaHeadersFrame) (fresh bool, err error) {
	id := f.StreamID
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.streams[id]; s != nil {
		switch {
		case s.received:
			return false, http2.ConnectionError(http2.ErrCodeStreamClosed)
		case !f.StreamEnded() || len(f.PseudoFields()) > 0:
			return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol} // section 8.1
		}
		return false, s.endReceived()
	}
	switch {
	case id%2 == 0:
		return false, http2.ConnectionError(http2.ErrCodeProtocol)
	case id <= c.last && c.out.wasReset(id):
		return false, nil // sent before the client knew
	case id <= c.last:
		return false, http2.ConnectionError(http2.ErrCodeStreamClosed)
	case c.goingAway:
		return false, nil // the client was told that it will not be answered (section 6.8)
	}
	c.last = id
	switch {
	case f.HasPriority() && f.Priority.StreamDep == id:
		return false, http2.StreamError{StreamID: id, Code: http2.ErrCodeProtocol}
	case c.open >= c.srv.maxStreams, c.running >= 2*c.srv.maxStreams:
		return false, c.refuse(id)
	}
	return true, nil
}

// refuse refuses a call beyond what the client may have open. Handlers of calls
// that it has reset count until they have returned: without that, a client could
// have any number of them (CVE-2023-44487). The caller holds mu.
func (c *conn) refuse(id uint32) error {
	if c.refused++; c.refused > refusalsPerStream*c.srv.maxStreams {
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return http2.StreamError{StreamID: id, Code: http2.ErrCodeRefusedStream}
}

// onData takes a piece of a call's body.
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
	s := c.streams[id]
	if s == nil || s.received {
		c.grant(size)
		c.out.flushLater()
		if s == nil && (c.goingAway || c.out.wasReset(id)) {
			return nil
		}
		return http2.StreamError{StreamID: id, Code: http2.ErrCodeStreamClosed}
	}
	return s.onData(f.Data(), size, f.StreamEnded())
}

// grant lets the client send n bytes more over the connection, once it is worth
// a frame. The caller holds mu, and flushes.
func (c *conn) grant(n int) {
	c.unread += n
	if c.unread >= connWindow/2 {
		c.out.push(appendWindowUpdate(c.out.pop(), 0, c.unread))
		c.recvWindow += c.unread
		c.unread = 0
	}
}

// onSettings takes what the client allows (section 6.5).
func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := f.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingMaxFrameSize:
			c.peerFrame = int(setting.Val)
		case http2.SettingInitialWindowSize:
			more := int(setting.Val) - c.peerWindow
			c.peerWindow = int(setting.Val)
			for _, s := range c.streams {
				if s.window += more; s.window > maxWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				s.cond.Broadcast()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.out.push(appendSettingsAck(c.out.pop()))
	return c.answer()
}

// onWindowUpdate lets the server send more (section 6.9).
func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID != 0 {
		s := c.streams[f.StreamID]
		if s == nil {
			return c.wasOpen(f.StreamID)
		}
		if s.window += int(f.Increment); s.window > maxWindow {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
		s.cond.Broadcast()
		return nil
	}
	if c.sendWindow += int(f.Increment); c.sendWindow > maxWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	for _, s := range c.streams {
		if s.waiting {
			s.cond.Broadcast()
		}
	}
	return nil
}

// wasOpen returns an error if the client has never opened the stream (section
// 5.1). The caller holds mu.
func (c *conn) wasOpen(id uint32) error {
	if id > c.last && !c.goingAway || id%2 == 0 {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

// onPing answers a ping, or takes the answer to the server's own.
func (c *conn) onPing(f *http2.PingFrame) error {
	if f.IsAck() {
		return nil // all that is heard is a sign of life
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out.push(appendPing(c.out.pop(), true, f.Data))
	return c.answer()
}

// answer flushes an answer to a control frame. The caller holds mu.
func (c *conn) answer() error {
	if c.out.waiting() > maxQueued {
		return errRefuses
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
	s.fail(fmt.Errorf("the client reset the stream: %w", http2.StreamError{StreamID: f.StreamID, Code: f.ErrCode}))
	s.received, s.sent = true, true
	s.leave()
	return nil
}

// reset ends a stream with an error of the client's.
func (c *conn) reset(id uint32, code http2.ErrCode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, id)
	if s := c.streams[id]; s != nil {
		s.fail(http2.StreamError{StreamID: id, Code: code})
		s.received, s.sent = true, true
		s.leave()
	}
	c.out.reset(id, code)
	c.out.flushLater()
}

// onTick looks after the connection every tick.
func (c *conn) onTick() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
		return c.err
	case c.goingAway && len(c.streams) == 0:
		return errDrained
	case c.stuck.lasts(c.out.writing && c.out.writes == c.writes, c.in.tick, c.srv.writeTimeout):
		return errStuck
	case c.idle.lasts(len(c.streams) == 0, c.in.tick, c.srv.idleTimeout):
		return errIdle
	}
	c.writes = c.out.writes
	if c.in.heard {
		c.pinged = false
	}
	silent := c.silent.lasts(!c.in.heard, c.in.tick, c.srv.pingAfter)
	switch {
	case c.unanswered.lasts(c.pinged, c.in.tick, c.srv.pingTimeout):
		return errSilent
	case silent && !c.pinged:
		c.pinged = true
		c.out.push(appendPing(c.out.pop(), false, [8]byte{}))
		c.out.flushLater()
	}
	c.in.arm()
	return nil
}

// spell is how many ticks something has been so.
type spell int

// lasts counts a tick at which it is so or not, and reports whether it has been
// so for limit; never if that is 0.
func (s *spell) lasts(so bool, tick, limit time.Duration) bool {
	if !so {
		*s = 0
		return false
	}
	*s++
	return limit > 0 && time.Duration(*s)*tick >= limit
}

// shutdown lets calls end, and the connection when they have.
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

// endIfDrained wakes the reading goroutine when the last call has ended after
// shutdown. The caller holds mu.
func (c *conn) endIfDrained() {
	if c.goingAway && len(c.streams) == 0 {
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

// end ends all calls, says why, and closes the connection: in such a way that
// the client gets what was written before, which bytes of its own that nobody
// reads would make the kernel throw away.
func (c *conn) end(err error) {
	c.start() // calls that have begun are ended like all others
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
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
	case errors.Is(err, errRefuses):
		code = http2.ErrCodeEnhanceYourCalm
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
