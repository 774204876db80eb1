package chatsvc

import (
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
	// bodyTime is how long a body may take to arrive, in addition to the time for its size
	// at slowestTransfer.
	bodyTime = 30 * time.Second
	// slowestTransfer is the lowest speed of a connection that is served, in bytes per
	// second.
	slowestTransfer = 16 << 10
	// restTime and restBytes bound the reading of the rest of a refused body.
	restTime  = 5 * time.Second
	restBytes = 4 << 20
	// bodySlack is how much larger than the content a request's body may be, in bytes.
	bodySlack = 64 << 10
	// prefixBytes is the size of the envelope before a message in gRPC, gRPC-Web and
	// Connect's streams: one byte of flags, and the length in four bytes, high byte
	// first.
	prefixBytes = 5

	flagCompressed = 0b1
)

// limitedBody is a request's body with a limit of its size and of the time for it. It also
// checks the envelope around the message, so that a body that ends too early, is too large
// or is compressed gets the same error over every protocol. Without it, connect would read
// a whole body to find out how large it is.
type limitedBody struct {
	src      io.ReadCloser // limited
	raw      io.Reader     // not limited
	request  *http.Request
	control  *http.ResponseController
	isHTTP1  bool
	ended    bool          // src was read to its end
	keeps    bool          // the handler reads src while it answers
	content  int           // largest content, for the error's text; 0: the call has none
	limit    int64         // of the whole body, in bytes
	declared int64         // Content-Length, or -1
	patience time.Duration // for the whole body
	isLarge  bool          // the call is refused because of its size
	held     reservation

	enveloped bool // a prefix stands before the message
	prefix    [prefixBytes]byte
	prefixed  int   // bytes of the next prefix that were read
	left      int64 // bytes of the current message that were not read yet
	messages  int

	mu      sync.Mutex // guards all below; held while the deadline is set, so that the handler cannot end before that
	timer   *time.Timer
	done    bool // the body is no longer awaited
	expired bool
}

// newLimitedBody wraps the body of r, a call whose message may have content bytes of
// content. The caller must call finish at the end.
func newLimitedBody(w http.ResponseWriter, r *http.Request, f face, contentType string, content int, bodies *bodyBudget) *limitedBody {
	limit := int64(content)
	if f == faceWebText || strings.HasSuffix(contentType, "json") {
		limit = int64(base64.StdEncoding.EncodedLen(content))
	}
	limit += bodySlack
	if f == faceMany {
		limit = math.MaxInt64 // each line has one
	}
	b := &limitedBody{
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

// transferTime returns the time for bytes at slowestTransfer.
func transferTime(bytes int64) time.Duration {
	return time.Duration(bytes) * time.Second / slowestTransfer
}

// expire ends the wait for the rest of the body. Setting a deadline for each request
// instead would cost messages to the goroutine of an HTTP/2 connection.
func (b *limitedBody) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.done {
		return
	}
	b.expired = true
	// If the writer has no deadlines, the embedder's server must bound its requests.
	_ = b.control.SetReadDeadline(time.Unix(1, 0))
}

// stop ends the limit of the body's time.
func (b *limitedBody) stop() {
	if b.timer == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	b.timer.Stop()
}

// isExpired reports whether the body took too long.
func (b *limitedBody) isExpired() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expired
}

// finish ends the use of the body after the call. Over HTTP/1.1 it reads a part of the
// rest: otherwise the answer would be lost if the connection closes while the caller
// still writes.
func (b *limitedBody) finish() {
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

// unread reports whether a part of the body is left that the next request on an HTTP/1.1
// connection would have to wait for.
func (b *limitedBody) unread() bool { return b.isHTTP1 && !b.keeps && !b.ended }

// keep keeps the connection open although the answer begins before the body has ended,
// because the handler reads the rest of the body.
func (b *limitedBody) keep() { b.keeps = true }

// Close implements [io.Closer]. It does not read the rest of the body, so that net/http
// does that after the answer.
func (b *limitedBody) Close() error {
	if b.unread() {
		return nil
	}
	return b.src.Close()
}

// Read implements [io.Reader]. Errors that are the caller's fault have a
// connect code.
func (b *limitedBody) Read(p []byte) (int, error) {
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

// readError returns the error that the caller sees for an error of src.
func (b *limitedBody) readError(err error) error {
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

// end notes that the whole body was read.
func (b *limitedBody) end() {
	if !b.ended {
		b.stop()
	}
	b.ended = true
}

// scan checks the envelopes in the next bytes of the body.
func (b *limitedBody) scan(p []byte) error {
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
			return invalid("the envelope has the flags %#x: send it without flags", flags)
		case size > b.limit:
			return b.tooLarge()
		}
	}
	return nil
}

func (b *limitedBody) tooLarge() error {
	b.isLarge = true
	if b.content == 0 {
		return tooLarge("the body is larger than %d bytes: this call needs none", b.limit)
	}
	return tooLarge("the body is larger than %d bytes: a message holds at most %d bytes of content", b.limit, b.content)
}
