package main

import (
	"fmt"
	"net"

	"golang.org/x/net/http2"
)

// subscribe implements [wire].
func (w h2Wire) subscribe(conn net.Conn, subs []*subscriber) error {
	c, err := newH2Conn(conn, subs[0].kind.isLazy())
	if err != nil {
		return err
	}
	if int(c.peer.streams) < len(subs) {
		return fmt.Errorf("the server allows %d streams on a connection, %d are to share one: more --connections, or more streams on the server (simplechat serve --max-streams)", c.peer.streams, len(subs))
	}
	for i := range subs {
		// Encoded anew each time: the second block and all after are short,
		// as they refer to the first.
		block := c.headerBlock(w.list)
		_ = c.writer.WriteHeaders(http2.HeadersFrameParam{StreamID: streamID(i), BlockFragment: block, EndHeaders: true})
		_ = c.writer.WriteData(streamID(i), true, w.dialect.listBody())
	}
	if err := c.out.Flush(); err != nil {
		return err
	}
	if subs[0].kind == toggling {
		ended := make(chan struct{})
		defer close(ended)
		go c.toggle(w.toggleTime, ended)
	}
	return c.read(&h2Streams{c, w.dialect, subs})
}

// streamID returns the identifier of a connection's stream number i.
func streamID(i int) uint32 { return uint32(2*i + 1) }

// h2Streams feeds the subscribers of a connection.
type h2Streams struct {
	conn    *h2Conn
	dialect dialect
	subs    []*subscriber
}

var _ handler = (*h2Streams)(nil)

func (h *h2Streams) at(stream uint32) (*subscriber, error) {
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
		s.end(err)
	}
	return nil
}

func (h *h2Streams) data(stream uint32, p []byte, flow int, end bool) error {
	s, err := h.at(stream)
	if err != nil || s.ended {
		return err
	}
	if err := s.feed(p); err != nil {
		return err
	}
	if end {
		s.end(nil)
		return nil
	}
	if s.kind.isLazy() {
		return h.small(stream, flow)
	}
	return h.conn.consumed(stream, flow, &s.credit)
}

// small gives the window back at once to those with a small one, the stuck
// excepted, whose connection is not read to begin with.
func (h *h2Streams) small(stream uint32, flow int) error {
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
		s.end(fmt.Errorf("the server reset the stream: %v", code))
	}
	return err
}

func (h *h2Streams) window(uint32, uint32) {}
