package chatsvc

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// lineSend is the send of one line.
type lineSend struct {
	record  NewRecord
	refusal []byte // the answer, if it is refused
	passes  bool   // the same line may be stored later than the refusal
	stored  Appended
}

// lineCaller makes a call for each line. The call runs through connect in memory, with its
// gates and interceptors, and ends with the record to be stored. It is not safe for
// concurrent use.
type lineCaller struct {
	rpc      http.Handler
	request  *http.Request // of all lines
	exchange *exchange     // of all lines
	body     bytes.Reader
	answer   lineAnswer
	message  []byte // serialized message of the current line
}

// newLineCaller returns a caller with the headers and the context of r.
func newLineCaller(rpc http.Handler, r *http.Request) lineCaller {
	call := r.Clone(r.Context())
	for _, name := range []string{"Content-Encoding", "Content-Length", "Expect", "Connect-Timeout-Ms", "Connect-Accept-Encoding", "Transfer-Encoding"} {
		call.Header.Del(name)
	}
	call.Header.Set("Content-Type", contentTypeProto)
	res := &exchange{body: &limitedBody{}}
	call = call.WithContext(context.WithValue(r.Context(), exchangeKey{}, res))
	return lineCaller{rpc: rpc, request: call, exchange: res, answer: lineAnswer{header: make(http.Header)}}
}

// call returns the send of a line. If the line was too long to be read, tooLong is its
// error.
func (c *lineCaller) call(line []byte, tooLong error) *lineSend {
	send := &lineSend{}
	if tooLong != nil {
		send.refuse(newLineError(tooLong))
		return send
	}
	key, hasKey, err := c.parse(line)
	if err != nil {
		send.refuse(newLineError(err))
		return send
	}
	if hasKey {
		c.request.Header[HeaderIdempotencyKey] = []string{key}
	}
	c.body.Reset(c.message)
	c.exchange.line = send
	c.request.Body, c.request.ContentLength = io.NopCloser(&c.body), int64(len(c.message))
	c.answer.reset()
	c.rpc.ServeHTTP(&c.answer, c.request)
	if c.answer.status != http.StatusOK {
		send.refuse(readLineError(c.answer.body, c.answer.header.Get(HeaderRetryAfter)))
	}
	c.shrink()
	return send
}

// shrink frees the memory of a long line, because the next line may come much later.
func (c *lineCaller) shrink() {
	c.exchange.line = nil // and the record
	delete(c.request.Header, HeaderIdempotencyKey)
	if cap(c.message) > manyBytes {
		c.message = nil
		c.body.Reset(nil)
	}
	if cap(c.answer.body) > manyBytes {
		c.answer.body = nil
	}
}

// parse sets c.message to the message on a line, and returns its key.
func (c *lineCaller) parse(line []byte) (key string, hasKey bool, err error) {
	if m, key, ok := parseSimpleLine(line); ok {
		c.message = m.appendTo(c.message[:0])
		return key, m.hasKey, nil
	}
	msg, key, hasKey, err := parseLine(line)
	if err != nil {
		return "", false, invalid("%w", err)
	}
	c.message, err = proto.MarshalOptions{}.MarshalAppend(c.message[:0], msg)
	if err != nil {
		return "", false, connect.NewError(connect.CodeInternal, err)
	}
	return key, hasKey, nil
}

// lineAnswer is the response of a line's call.
type lineAnswer struct {
	header http.Header
	status int
	body   []byte
}

var _ http.ResponseWriter = (*lineAnswer)(nil)

func (a *lineAnswer) reset() {
	clear(a.header)
	a.status, a.body = http.StatusOK, a.body[:0]
}

// Header implements [http.ResponseWriter].
func (a *lineAnswer) Header() http.Header { return a.header }

// WriteHeader implements [http.ResponseWriter].
func (a *lineAnswer) WriteHeader(status int) { a.status = status }

// Write implements [http.ResponseWriter].
func (a *lineAnswer) Write(p []byte) (int, error) {
	a.body = append(a.body, p...)
	return len(p), nil
}
