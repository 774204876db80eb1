package h2

import (
	"io"
	"maps"
	"net/http"
	"os"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// onData handles a frame of the body; size bytes of it count for flow control.
// The caller holds mu.
func (s *stream) onData(data []byte, size int, end bool) error {
	s.got += int64(len(data))
	switch s.recvWindow -= size; {
	case s.recvWindow < 0:
		s.c.grant(size)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeFlowControl}
	case s.declared >= 0 && s.got > s.declared:
		s.c.grant(size)
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol} // section 8.1.1
	case s.bodyClosed, s.readExpired: // the connection is the other calls', too
		s.c.grant(size)
	default:
		s.keep(data)
		s.grant(size - len(data)) // padding
	}
	s.c.out.flushLater()
	if end {
		return s.endReceived()
	}
	return nil
}

// keep stores data until the handler reads it. The caller holds mu.
func (s *stream) keep(data []byte) {
	if s.taken > len(s.body)/2 { // a reader that never catches up must not make the buffer grow
		s.body = s.body[:copy(s.body, s.body[s.taken:])]
		s.taken = 0
	}
	s.body = append(s.body, data...)
	s.cond.Broadcast()
}

// onTrailers handles the header block after the body (section 8.1). The caller
// holds mu.
func (s *stream) onTrailers(f *http2.MetaHeadersFrame) error {
	malformed := http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	if !f.StreamEnded() || len(f.PseudoFields()) > 0 {
		return malformed
	}
	for _, field := range f.RegularFields() {
		key := http.CanonicalHeaderKey(field.Name)
		if _, announced := s.req.Trailer[key]; !announced {
			continue
		}
		if !httpguts.ValidTrailerHeader(key) {
			return malformed
		}
		if s.trailer == nil {
			s.trailer = make(http.Header)
		}
		s.trailer[key] = append(s.trailer[key], field.Value)
	}
	return s.endReceived()
}

// endReceived notes the end of the request. The caller holds mu.
func (s *stream) endReceived() error {
	if s.declared >= 0 && s.got != s.declared {
		return http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol} // section 8.1.1
	}
	s.complete, s.received = true, true
	s.leave()
	s.cond.Broadcast()
	return nil
}

// grant lets the client send n bytes more. It queues a WINDOW_UPDATE only when enough
// bytes have come together. The caller holds mu, and flushes.
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

// drop discards the unread part of the body. The caller holds mu.
func (s *stream) drop() {
	if n := len(s.body) - s.taken; n > 0 {
		s.c.grant(n)
	}
	s.body, s.taken = nil, 0
}

// streamBody is the request's body. It is safe for concurrent use. Bytes that have
// arrived can be read even after the stream has ended.
type streamBody struct{ s *stream }

// Read implements [io.Reader].
func (b streamBody) Read(p []byte) (int, error) {
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
		case s.taken < len(s.body):
			return s.take(p), nil
		case s.readExpired:
			return 0, os.ErrDeadlineExceeded
		case s.complete:
			maps.Copy(s.req.Trailer, s.trailer)
			s.trailer = nil
			return 0, io.EOF
		case s.err != nil:
			return 0, s.err
		case s.expects:
			s.expects = false
			c.out.headers(appendStatus(nil, http.StatusContinue), c.peerFrame, s.id, false)
			_ = c.out.flush(false)
		default:
			s.cond.Wait()
		}
	}
}

// take moves bytes of the body to p. The caller holds mu.
func (s *stream) take(p []byte) int {
	n := copy(p, s.body[s.taken:])
	s.taken += n
	if s.taken == len(s.body) {
		s.body, s.taken = s.body[:0], 0
		if s.received {
			s.body = nil // the call may last long
		}
	}
	s.grant(n)
	s.c.out.flushLater()
	return n
}

// Close implements [io.Closer].
func (b streamBody) Close() error {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	b.s.bodyClosed = true
	b.s.cond.Broadcast()
	b.s.drop()
	b.s.c.out.flushLater()
	return nil
}
