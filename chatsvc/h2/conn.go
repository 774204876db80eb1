package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
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
	// maxAnswers is how many frames that answer the client's may wait for a
	// client that does not read, before it is cut off.
	maxAnswers = 10_000
	// maxSettings is how many values one SETTINGS frame may have. Clients send
	// less than ten.
	maxSettings = 32
	// refusalsPerStream, times the calls that a client may have open, is how
	// many of its calls may be refused, or reset before a handler was free,
	// without one that ends well, before the connection ends.
	refusalsPerStream = 4
)

var (
	errPreface = errors.New("no HTTP/2 preface")
	errMute    = errors.New("no SETTINGS in time")
	errDrained = errors.New("the server is shutting down")
	errSilent  = errors.New("the client does not answer a ping")
	errStuck   = errors.New("the client takes no bytes")
	errIdle    = errors.New("no calls for too long")
	errRefuses = errors.New("the client reads no answers to its control frames")
	errHeaders = errors.New("a header block does not end in time")
	errReader  = errors.New("the connection's reader panicked")
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
	begun      bool      // the client's first SETTINGS are there
	acked      bool      // and so is its acknowledgement of the server's
	peerWindow int64     // what it takes of a new stream
	watch      watch

	mu         sync.Mutex // guards all below, and the streams
	out        queue
	streams    map[uint32]*stream // open ones, and those whose handler runs
	open       int                // streams that count against the client's limit
	running    int                // handlers, also of streams that were reset
	pending    []*stream          // calls that wait for a handler to return, oldest first
	refused    int                // calls refused, or reset while pending, since one ended well
	last       uint32             // highest stream that the client has opened
	sendWindow int64              // what the client takes, over all streams
	peerFrame  int                // largest frame that it takes
	recvWindow int                // what the client may still send, at most connWindow
	unread     int                // bytes that were read and are not granted again yet
	goingAway  bool               // no new streams
	err        error              // why the connection has ended; nil while it lasts
}

// serveConn serves nc, from which the preface was read if it is plain TCP,
// until it ends. The contexts of its calls are base's, each with an end of its
// own.
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
			err = errReader
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

// begin takes the frame that the client begins with (section 3.4). From then on
// the connection is looked after every tick.
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

// next reads and handles one frame. Violations that concern one stream end that
// stream; the error is one that ends the connection.
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
		c.shutdown() // as net/http does: what was begun goes on, and then nobody needs the connection
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol) // section 8.4
	}
	return nil // unknown frames are ignored (section 5.5)
}

// start begins the calls whose headers were received, before the connection
// waits for more. Bodies that came right behind are there by then, and their
// handlers need not wait for them.
func (c *conn) start() {
	for i, s := range c.starting {
		c.starting[i] = nil
		c.srv.workers.run(s)
	}
	c.starting = c.starting[:0]
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

// end ends all calls, says why, and closes the connection: in such a way that
// the client gets what was written before, which bytes of its own that nobody
// reads would make the kernel throw away.
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
	case errors.Is(err, errRefuses), errors.Is(err, errHeaders):
		code = http2.ErrCodeEnhanceYourCalm
	case errors.Is(err, errReader):
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
