package chatsvc

import (
	"bytes"
	"context"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
)

// lineSend is a message on a line of a body.
type lineSend struct {
	record  NewRecord
	refusal []byte // the answer, if it is refused
	passes  bool   // the same line may be stored later than the refusal
	stored  Appended
}

// lineCaller makes a call of each line: it runs through connect in memory, with its
// gates and interceptors, as far as the record that is to be stored. It is not safe for
// concurrent use.
type lineCaller struct {
	rpc      http.Handler
	request  *http.Request // of all lines
	response *response     // of all lines
	body     bytes.Reader
	answer   lineAnswer
	message  []byte // serialized, of the line under way
}

// newLineCaller returns a caller with the credentials and the context of r.
func newLineCaller(rpc http.Handler, r *http.Request) lineCaller {
	call := r.Clone(r.Context())
	for _, name := range []string{"Content-Encoding", "Content-Length", "Expect", "Connect-Timeout-Ms", "Connect-Accept-Encoding", "Transfer-Encoding"} {
		call.Header.Del(name)
	}
	call.Header.Set("Content-Type", contentTypeProto)
	res := &response{body: &requestBody{}}
	call = call.WithContext(context.WithValue(r.Context(), responseKey{}, res))
	return lineCaller{rpc: rpc, request: call, response: res, answer: lineAnswer{header: make(http.Header)}}
}

// call returns what a line asks for. If the line could not be read, tooLong says why.
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
	c.response.line = send
	c.request.Body, c.request.ContentLength = io.NopCloser(&c.body), int64(len(c.message))
	c.answer.reset()
	c.rpc.ServeHTTP(&c.answer, c.request)
	if c.answer.status != http.StatusOK {
		send.refuse(readLineError(c.answer.body, c.answer.header.Get(HeaderRetryAfter)))
	}
	c.shrink()
	return send
}

// shrink gives up what a long line has taken: the next one may be far away.
func (c *lineCaller) shrink() {
	c.response.line = nil // and the record
	delete(c.request.Header, HeaderIdempotencyKey)
	if cap(c.message) > manyBytes {
		c.message = nil
		c.body.Reset(nil)
	}
	if cap(c.answer.body) > manyBytes {
		c.answer.body = nil
	}
}

// parse makes c.message of a line, and returns its key.
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

// lineAnswer is the response to the call that a line is.
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
