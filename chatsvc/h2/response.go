package h2

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// heldBytes is how many bytes of a response wait for a flush or for the end, where the
// Content-Length is known.
const heldBytes = 4 << 10

// sniffBytes is how many bytes of a body [http.DetectContentType] uses.
const sniffBytes = 512

// response is a call's [http.ResponseWriter]. Only the handler uses it; apart from its
// deadlines it is not safe for concurrent use.
type response struct {
	s       *stream
	head    bool // the request's method is HEAD
	refused int  // status to answer with instead of the handler; 0: none

	header   http.Header
	status   int      // 0 until WriteHeader
	block    []byte   // the header block, until it is sent
	typed    bool     // the handler has set Content-Type
	length   int64    // the handler's Content-Length, or -1
	written  int64    // bytes of the body
	trailers []string // keys that the header Trailer has announced
	gone     chan bool
	held     []byte // of the body, not sent yet
	flushed  bool   // the header block is sent
}

var (
	_ http.Flusher       = (*response)(nil)
	_ http.CloseNotifier = (*response)(nil) //nolint:staticcheck // deprecated, but handlers that assert it would panic
	_ interface {
		FlushError() error
		SetReadDeadline(t time.Time) error
		SetWriteDeadline(t time.Time) error
		EnableFullDuplex() error
	} = (*response)(nil) // what [http.ResponseController] looks for
)

// Header implements [http.ResponseWriter].
func (r *response) Header() http.Header {
	if r.header == nil {
		r.header = make(http.Header, 8)
	}
	return r.header
}

// WriteHeader implements [http.ResponseWriter].
func (r *response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("h2: WriteHeader with the status %d", status))
	case r.status != 0:
		r.s.c.srv.logf("http2: superfluous WriteHeader with the status %d", status)
		return
	case status < 200:
		_ = r.s.inform(r.appendHeader(appendStatus(nil, status)), status == http.StatusContinue)
		return
	}
	r.status = status
	r.length = -1
	if value := r.header["Content-Length"]; len(value) > 0 {
		if n, err := strconv.ParseUint(value[0], 10, 63); err == nil {
			r.length = int64(n)
		}
	}
	for _, value := range r.header["Trailer"] {
		for key := range strings.SplitSeq(value, ",") {
			r.announce(key)
		}
	}
	_, r.typed = r.header["Content-Type"]
	block := appendStatus(make([]byte, 0, 256), status)
	if _, ok := r.header["Date"]; !ok {
		block = appendDate(block)
	}
	block = r.appendHeader(block)
	if r.length >= 0 {
		block = appendField(block, "content-length", strconv.FormatInt(r.length, 10))
	}
	r.block = block
	if r.header.Get("Connection") == "close" { // as over HTTP/1.1, though it has no such field here
		r.s.c.shutdown()
	}
}

// Write implements [http.ResponseWriter].
func (r *response) Write(p []byte) (int, error) {
	if err := r.begin(len(p)); err != nil {
		return 0, err
	}
	if len(r.held)+len(p) <= heldBytes {
		r.held = append(r.held, p...)
		return len(p), nil
	}
	if err := r.send(p, nil, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString implements [io.StringWriter].
func (r *response) WriteString(p string) (int, error) {
	if len(p) > heldBytes {
		return r.Write([]byte(p))
	}
	if err := r.begin(len(p)); err != nil {
		return 0, err
	}
	if len(r.held)+len(p) > heldBytes {
		if err := r.send(nil, nil, false); err != nil {
			return 0, err
		}
	}
	r.held = append(r.held, p...)
	return len(p), nil
}

// begin prepares for n bytes more of the body.
func (r *response) begin(n int) error {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.status == http.StatusNoContent || r.status == http.StatusNotModified {
		return http.ErrBodyNotAllowed
	}
	r.written += int64(n)
	if r.length >= 0 && r.written > r.length {
		return http.ErrContentLength
	}
	return nil
}

// send sends the header block, the held bytes and p. With end it also ends the
// response.
func (r *response) send(p, trailers []byte, end bool) error {
	held, block := r.held, r.block
	r.block = nil
	r.held = r.held[:0]
	if cap(r.held) > smallBuffer {
		r.held = nil // a stream may be idle for long
	}
	if r.flushed && r.head {
		return nil // all is sent
	}
	if !r.flushed {
		r.flushed = true
		block = r.complete(block, held, p, end && (trailers == nil || r.head))
	}
	if r.head {
		held, p, trailers, end = nil, nil, nil, true
	}
	return r.s.send(block, held, p, trailers, end)
}

// Flush implements [http.Flusher].
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is Flush, and returns its error.
func (r *response) FlushError() error {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if r.flushed && len(r.held) == 0 {
		r.s.c.mu.Lock()
		defer r.s.c.mu.Unlock()
		return r.s.err
	}
	return r.send(nil, nil, false)
}

// finish ends the response when the handler has returned.
func (r *response) finish() {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	_ = r.send(nil, r.appendTrailers(nil), true)
}

// SetReadDeadline is for [http.ResponseController].
func (r *response) SetReadDeadline(t time.Time) error {
	r.s.setReadDeadline(t)
	return nil
}

// SetWriteDeadline is for [http.ResponseController].
func (r *response) SetWriteDeadline(t time.Time) error {
	r.s.setWriteDeadline(t)
	return nil
}

// CloseNotify implements [http.CloseNotifier].
func (r *response) CloseNotify() <-chan bool {
	r.s.c.mu.Lock()
	defer r.s.c.mu.Unlock()
	if r.gone == nil {
		gone := make(chan bool, 1)
		context.AfterFunc(r.s.req.Context(), func() { gone <- true })
		r.gone = gone
	}
	return r.gone
}

// EnableFullDuplex is for [http.ResponseController]: HTTP/2 always is.
func (r *response) EnableFullDuplex() error { return nil }
