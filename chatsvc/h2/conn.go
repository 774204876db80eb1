package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// connWindow and streamWindow are the bytes that clients may send before the
	// handlers read them. They bound the memory that a client can use.
	connWindow   = 1 << 20
	streamWindow = 256 << 10
	// maxAnswers is the number of frames that may wait as answers to a client that
	// does not read. Then the connection ends.
	maxAnswers = 10_000
	// maxSettings is the largest number of values in one SETTINGS frame. Clients send
	// fewer than ten.
	maxSettings = 32
	// refusalsPerStream, multiplied by the calls that a client may have open, is the
	// number of its calls that may be refused, or reset before a handler was free,
	// before one succeeds. Beyond it the connection ends.
	refusalsPerStream = 4
)

var (
	errPreface       = errors.New("no HTTP/2 preface")
	errNoSettings    = errors.New("no SETTINGS in time")
	errDrained       = errors.New("the server is shutting down")
	errSilent        = errors.New("the client does not answer a ping")
	errStuck         = errors.New("the client takes no bytes")
	errIdle          = errors.New("no calls for too long")
	errUnreadAnswers = errors.New("the client reads no answers to its control frames")
	errSlowHeaders   = errors.New("a header block does not end in time")
	errReaderPanic   = errors.New("the connection's reader panicked")
)

// conn is one HTTP/2 connection. Its goroutine reads; handlers write.
type conn struct {
	srv    *Server
	nc     net.Conn
	tls    *tls.ConnectionState
	remote string
	base   context.Context //nolint:containedctx // every call's is made of it

	// The fields up to mu are the reading goroutine's.
	in         reader
	framer     *http2.Framer
	starting   []*stream // calls that begin before the next read
	begun      bool      // the client's first SETTINGS have arrived
	acked      bool      // the client has acknowledged the server's SETTINGS
	peerWindow int64     // bytes that the client accepts on a new stream
	liveness   liveness

	mu         sync.Mutex // guards all below, and the streams
	out        queue
	streams    map[uint32]*stream // open ones, and those whose handler runs
	open       int                // streams that count against the client's limit
	running    int                // handlers, also of streams that were reset
	pending    []*stream          // calls that wait for a handler to return, oldest first
	refused    int                // calls refused, or reset while pending, since one ended well
	last       uint32             // highest stream that the client has opened
	sendWindow int64              // bytes that the client accepts, over all streams
	peerFrame  int                // the largest frame that the client accepts
	recvWindow int                // bytes that the client may still send, at most connWindow
	unread     int                // bytes that were read and not granted again yet
	goingAway  bool               // no new streams
	err        error              // why the connection has ended; nil while it lasts
}

// serveConn serves nc until it ends. On plain TCP the preface was read already. The
// contexts of the calls derive from base.
func (s *Server) serveConn(base context.Context, nc net.Conn, state *tls.ConnectionState) {
	c := &conn{
		srv:        s,
		nc:         nc,
		tls:        state,
		remote:     nc.RemoteAddr().String(),
		base:       base,
		streams:    make(map[uint32]*stream),
		sendWindow: initialWindow,
		peerWindow: initialWindow,
		peerFrame:  maxReadFrame,
		recvWindow: connWindow,
	}
	c.in = reader{nc: nc, beforeWait: c.start, onTick: c.onTick}
	c.out.init(&c.mu, nc)
	hello := appendSettings(c.out.pop(),
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(s.maxStreams)},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: s.maxHeader})
	c.out.push(appendWindowUpdate(hello, 0, connWindow-initialWindow))
	// All this before a shutdown can find the connection: its GOAWAY comes
	// after the settings, and its wake-up is not undone.
	_ = nc.SetReadDeadline(time.Now().Add(s.beginTime))
	if !s.add(c) {
		_ = nc.Close()
		return
	}
	defer s.remove(c)
	err := c.serve()
	c.end(err)
}

// serve reads frames until the connection ends, and returns why. A panic ends
// this connection alone.
func (c *conn) serve() (err error) {
	defer func() {
		if value := recover(); value != nil {
			c.srv.logf("http2: panic serving %s: %v\n%s", c.remote, value, debug.Stack())
			err = errReaderPanic
		}
	}()
	if c.tls != nil {
		if _, complete, err := readPreface(c.nc); err != nil || !complete {
			return errors.Join(err, errPreface)
		}
	}
	c.mu.Lock()
	c.out.flushLater()
	c.mu.Unlock()
	c.framer = http2.NewFramer(nil, &c.in)
	c.framer.SetReuseFrames()
	c.framer.SetMaxReadFrameSize(maxReadFrame)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.MaxHeaderListSize = c.srv.maxHeader
	for err = c.begin(); err == nil; err = c.next() {
	}
	return err
}

// begin handles the client's first frame (section 3.4). From then on the connection is
// checked at every tick.
func (c *conn) begin() error {
	head, err := c.framer.ReadFrameHeader()
	if err != nil {
		return err
	}
	if head.Type != http2.FrameSettings || head.Flags.Has(http2.FlagSettingsAck) {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	first, err := c.framer.ReadFrameForHeader(head)
	c.in.endFrame()
	if err != nil {
		return err
	}
	if err := c.handle(first); err != nil {
		return err
	}
	c.begun = true
	return c.onTick()
}

// next reads and handles one frame. A violation on one stream resets that stream; an
// error that next returns ends the connection.
func (c *conn) next() error {
	head, err := c.framer.ReadFrameHeader()
	if err != nil {
		return err
	}
	if head.Type == http2.FrameHeaders {
		c.in.beginBlock(c.srv.maxBlock())
	}
	frame, err := c.framer.ReadFrameForHeader(head)
	c.in.endFrame()
	if err == nil {
		err = c.handle(frame)
	} else if broken, ok := errors.AsType[http2.StreamError](err); ok {
		err = c.checkMalformed(head, broken)
	}
	if broken, ok := errors.AsType[http2.StreamError](err); ok {
		err = c.reset(broken.StreamID, broken.Code)
	}
	return err
}

// handle handles a frame that is well-formed by itself.
func (c *conn) handle(frame http2.Frame) error {
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
	case *http2.GoAwayFrame:
		c.shutdown() // as net/http does: open calls continue, and then the connection ends
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // section 8.4
	}
	return nil // unknown frames are ignored (section 5.5)
}

// start starts the calls whose headers were received, before the connection
// waits for more bytes. A body that followed at once has arrived by then, so its
// handler need not wait for it.
func (c *conn) start() {
	for i, s := range c.starting {
		c.starting[i] = nil
		c.srv.workers.run(s)
	}
	c.starting = c.starting[:0]
}
