package wire

import (
	"fmt"
	"net"
	"time"

	"golang.org/x/net/http2"
)

// Subscribe implements [Client].
func (w h2Client) Subscribe(conn net.Conn, subs []Subscriber, how Reading) error {
	c, err := newH2Conn(conn, how.Small)
	if err != nil {
		return err
	}
	if int(c.peer.streams) < len(subs) {
		return fmt.Errorf("the server allows %d streams on a connection, %d are to share one: more --connections, or more streams on the server (simplechat serve --max-streams)", c.peer.streams, len(subs))
	}
	for i := range subs {
		// Encoded again each time: the second block and all after are short,
		// as they refer to the first.
		block := c.headerBlock(w.list)
		_ = c.writer.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID(i), BlockFragment: block, EndHeaders: true})
		_ = c.writer.WriteData(streamID(i), true, w.dialect.listBody())
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if how.Toggle > 0 {
		ended := make(chan struct{})
		defer close(ended)
		go c.toggle(how.Toggle, ended)
	}
	return c.read(&h2Streams{c, w.dialect, subs, how.Small, make([]int, len(subs))})
}

// streamID returns the identifier of a connection's stream number i.
func streamID(i int) uint32 { return uint32(2*i + 1) }

// h2Streams feeds the subscribers of a connection.
type h2Streams struct {
	conn    *h2Conn
	dialect dialect
	subs    []Subscriber
	small   bool  // the windows of all
	credit  []int // bytes of each since its window was topped up
}

var _ handler = (*h2Streams)(nil)

func (h *h2Streams) at(stream uint32) (Subscriber, error) {
	if i := int(stream / 2); stream%2 == 1 && i < len(h.subs) {
		return h.subs[i], nil
	}
	return nil, fmt.Errorf("a frame of stream %d, which is not open", stream)
}

func (h *h2Streams) header(stream uint32, a answer, end bool) error {
	s, err := h.at(stream)
	if err != nil {
		return err
	}
	if a.status == "" { // trailers
		a.status = "200"
	}
	err = h.dialect.checkStream(a)
	if end || err != nil {
		s.End(err)
	}
	return nil
}

func (h *h2Streams) data(stream uint32, p []byte, flow int, end bool) error {
	s, err := h.at(stream)
	if err != nil {
		return err
	}
	if err := s.Feed(p); err != nil {
		return err
	}
	if end {
		s.End(nil)
		return nil
	}
	if h.small {
		return h.giveBack(stream, flow)
	}
	return h.conn.consumed(stream, flow, &h.credit[stream/2])
}

// giveBack grants the small window again at once. A stuck subscriber does not get
// here, because its connection is not read.
func (h *h2Streams) giveBack(stream uint32, flow int) error {
	if flow == 0 {
		return nil
	}
	h.conn.mu.Lock()
	defer h.conn.mu.Unlock()
	_ = h.conn.writer.WriteWindowUpdate(0, uint32(flow))
	_ = h.conn.writer.WriteWindowUpdate(stream, uint32(flow))
	return h.conn.out.Flush()
}

func (h *h2Streams) reset(stream uint32, code http2.ErrCode) error {
	s, err := h.at(stream)
	if err == nil {
		s.End(fmt.Errorf("the server reset the stream: %v", code))
	}
	return err
}

func (h *h2Streams) window(uint32, uint32) {}

// toggle closes the windows of all streams, and opens them at once, until ended is closed
// or the connection fails: like a client that returns no window for a while.
func (c *h2Conn) toggle(every time.Duration, ended <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for window := uint32(0); ; window ^= hugeWindow {
		select {
		case <-tick.C:
		case <-ended:
			return
		}
		if c.setWindow(window) != nil {
			return // its reader reports the reason
		}
	}
}

func (c *h2Conn) setWindow(size uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
	return c.out.Flush()
}
