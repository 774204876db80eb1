package chatsvc

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
)

const (
	// bodyTime is how long a body may take to arrive, beside the time that its size
	// takes at slowestTransfer.
	bodyTime = 30 * time.Second
	// slowestTransfer is the slowest connection that is served, in bytes per second.
	slowestTransfer = 16 << 10
	// restTime and restBytes bound what is read of a body after it was refused.
	restTime  = 5 * time.Second
	restBytes = 4 << 20
	// bodySlack is what a request's body may hold beside the content, in bytes.
	bodySlack = 64 << 10
	// prefixBytes is the size of the envelope that gRPC, gRPC-Web and Connect's
	// streams put before a message: flags, and its length in four bytes, high
	// byte first.
	prefixBytes = 5

	flagCompressed = 0b1
)

// requestBody reads a request's body no further than its limit and for no longer than
// its size justifies, and checks the envelope around the message, so that a body that
// ends too early, is too large or is compressed gets the same error over every
// protocol. Without it connect would read on to find out how large a body is.
type requestBody struct {
	src      io.ReadCloser // limited
	raw      io.Reader     // not limited
	request  *http.Request
	control  *http.ResponseController
	isHTTP1  bool
	ended    bool          // src is read to its end
	keeps    bool          // the handler reads src while it answers
	content  int           // largest content, for the error's text; 0: the call has none
	limit    int64         // of the whole body, in bytes
	declared int64         // Content-Length, or -1
	patience time.Duration // for the whole body
	isLarge  bool          // the call is refused because of its size
	held     reservation

	enveloped bool // a prefix stands before the message
	prefix    [prefixBytes]byte
	prefixed  int   // bytes of the next prefix that are there
	left      int64 // bytes of the current message still to come
	messages  int

	mu      sync.Mutex // guards all below; held while the deadline is set, so that the handler cannot end before that
	timer   *time.Timer
	done    bool // nothing is waited for
	expired bool
}

// newRequestBody wraps the body of r, a call that may carry content bytes of
// content in a message. The caller calls finish in the end.
func newRequestBody(w http.ResponseWriter, r *http.Request, f face, contentType string, content int, bodies *bodyBudget) *requestBody {
	limit := int64(content)
	if f == faceWebText || strings.HasSuffix(contentType, "json") {
		limit = int64(base64.StdEncoding.EncodedLen(content))
	}
	limit += bodySlack
	if f == faceMany {
		limit = math.MaxInt64 // each line has one
	}
	b := &requestBody{
		src:       http.MaxBytesReader(w, r.Body, limit),
		raw:       r.Body,
		request:   r,
		control:   http.NewResponseController(w),
		isHTTP1:   r.ProtoMajor == 1,
		ended:     r.ContentLength == 0,
		content:   content,
		limit:     limit,
		declared:  r.ContentLength,
		held:      reservation{budget: bodies},
		enveloped: strings.HasPrefix(contentType, "application/grpc") || strings.HasPrefix(contentType, "application/connect+"),
	}
	if f == faceWebText {
		b.src = &webTextBody{src: b.src}
	}
	if !b.ended && f != faceMany {
		size := limit
		if b.declared >= 0 {
			size = min(size, b.declared)
		}
		b.patience = bodyTime + transferTime(size)
		b.timer = time.AfterFunc(b.patience, b.expire)
	}
	return b
}

// transferTime is what bytes take at slowestTransfer.
func transferTime(bytes int64) time.Duration {
	return time.Duration(bytes) * time.Second / slowestTransfer
}

// expire ends the wait for the rest of the body. To set the deadline of each request
// instead costs HTTP/2 messages to the connection's goroutine.
func (b *requestBody) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	b.expired = true
	// Where the writer has no deadlines, it is the embedder's server that
	// bounds its requests.
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// stop ends the watch over the body's time.
func (b *requestBody) stop() {
	if b.timer == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	b.timer.Stop()
}

// isExpired reports whether the body took too long.
func (b *requestBody) isExpired() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expired
}

// finish ends the use of the body after the call. It reads a part of what an
// HTTP/1.1 connection still carries: otherwise the answer would be lost if the
// connection is closed while the caller writes.
func (b *requestBody) finish() {
	b.stop()
	b.held.release()
	if !b.unread() || b.isExpired() {
		return
	}
	_ = b.control.Flush()
	if b.control.SetReadDeadline(time.Now().Add(restTime)) == nil {
		_, _ = io.CopyN(io.Discard, b.raw, restBytes)
	}
}

// unread reports whether something is left that an HTTP/1.1 connection's next
// request would have to wait for.
func (b *requestBody) unread() bool { return b.isHTTP1 && !b.keeps && !b.ended }

// keep lets the connection live on although the answer begins before the body has
// ended, as the rest of it is read.
func (b *requestBody) keep() { b.keeps = true }

// Close implements [io.Closer]. What is unread stays so, for net/http to deal
// with after the answer: it would read on here, before it.
func (b *requestBody) Close() error {
	if b.unread() {
		return nil
	}
	return b.src.Close()
}

// Read implements [io.Reader]. Errors that are the caller's fault have a
// connect code.
func (b *requestBody) Read(p []byte) (int, error) {
	if b.declared > b.limit {
		return 0, b.tooLarge()
	}
	n, err := b.src.Read(p)
	atEnd := errors.Is(err, io.EOF)
	switch {
	case atEnd:
		b.end()
	case err != nil:
		return 0, b.readError(err)
	}
	if !b.held.grow(n) {
		b.held.budget.onFull(b.request.Context(), b.held.user)
		return 0, limited(time.Second, "too many messages are arriving at the same time: send it again")
	}
	if !b.enveloped {
		return n, err
	}
	if badEnvelope := b.scan(p[:n]); badEnvelope != nil {
		return 0, badEnvelope
	}
	switch {
	case atEnd && (b.prefixed > 0 || b.left > 0):
		return 0, invalid("the body ends inside a message: send all the bytes that its envelope announces")
	case atEnd && b.messages == 0:
		return 0, invalid("the body has no message: send one envelope, five zero bytes for an empty message")
	}
	return n, err
}

// readError returns what the caller sees of an error of src's.
func (b *requestBody) readError(err error) error {
	var over *http.MaxBytesError
	var coded *connect.Error
	switch {
	case errors.As(err, &coded):
		return err
	case errors.As(err, &over):
		return b.tooLarge()
	case b.isExpired():
		return connect.NewError(connect.CodeDeadlineExceeded, fmt.Errorf("the body did not arrive within %v: send it again over a faster connection", b.patience))
	case b.isHTTP1:
		return invalid("the body cannot be read: it ends too early, or its chunks are malformed")
	default:
		return err
	}
}

// end notes that the body is there.
func (b *requestBody) end() {
	if !b.ended {
		b.stop()
	}
	b.ended = true
}

// scan follows the envelopes through the next bytes of the body.
func (b *requestBody) scan(p []byte) error {
	for len(p) > 0 {
		if b.left > 0 {
			n := min(b.left, int64(len(p)))
			b.left -= n
			p = p[n:]
			continue
		}
		n := copy(b.prefix[b.prefixed:], p)
		b.prefixed += n
		p = p[n:]
		if b.prefixed < prefixBytes {
			return nil
		}
		flags, size := b.prefix[0], int64(binary.BigEndian.Uint32(b.prefix[1:]))
		b.prefixed, b.left = 0, size
		b.messages++
		switch {
		case flags == flagCompressed:
			return connect.NewError(connect.CodeUnimplemented, errors.New("the message is compressed: send it as it is (identity)"))
		case flags != 0:
			return invalid("the envelope has the flags %#x: a request's message has none", flags)
		case size > b.limit:
			return b.tooLarge()
		}
	}
	return nil
}

func (b *requestBody) tooLarge() error {
	b.isLarge = true
	if b.content == 0 {
		return tooLarge("the body is larger than %d bytes: this call needs none", b.limit)
	}
	return tooLarge("the body is larger than %d bytes: a message holds at most %d bytes of content", b.limit, b.content)
}

// framedBody reads src as one message, with what must stand before one of its size.
type framedBody struct {
	src    io.ReadCloser
	prefix func(size int) []byte
	framed io.Reader // nil until the first read
}

// Read implements [io.Reader].
func (b *framedBody) Read(p []byte) (int, error) {
	if b.framed == nil {
		data, err := io.ReadAll(b.src)
		if err != nil {
			return 0, err
		}
		b.framed = io.MultiReader(bytes.NewReader(b.prefix(len(data))), bytes.NewReader(data))
	}
	return b.framed.Read(p)
}

// Close implements [io.Closer].
func (b *framedBody) Close() error { return b.src.Close() }

// envelopePrefix returns the prefix of a message of size bytes without flags.
func envelopePrefix(size int) [prefixBytes]byte {
	var prefix [prefixBytes]byte
	binary.BigEndian.PutUint32(prefix[1:], uint32(size))
	return prefix
}
