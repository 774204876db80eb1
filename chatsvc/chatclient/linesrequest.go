package chatclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const (
	contentTypeLines = "application/x-ndjson"
	// maxAnswer bounds the answer to a message in bytes.
	maxAnswer = 64 << 10
)

// linesRequest is a request with many messages, each on a line of its body.
type linesRequest struct {
	client *Client
	server replica
	body   []byte
	wrote  atomic.Int64 // number of headers that the transport has written
}

// add appends a message's line to the body.
func (r *linesRequest) add(msg *chatpb.ChatMessage, key string) {
	b := r.body
	b = append(b, `{"content":"`...)
	b = base64.StdEncoding.AppendEncode(b, msg.GetContent())
	b = append(append(b, `","type":"`...), msg.GetType().String()...)
	b = append(append(b, `","key":"`...), key...)
	b = append(b, '"')
	if msg.GetTimestamp() != 0 {
		b = append(b, `,"timestamp":"`...)
		b = append(strconv.AppendUint(b, msg.GetTimestamp(), 10), '"')
	}
	b = append(b, "}\n"...)
	r.body = b
}

// run sends the request and calls answered with each answer until answered returns an
// error. It always returns an error: [io.EOF] after the last answer. A request without an
// answer for too long is cut.
func (r *linesRequest) run(ctx context.Context, answered func(epoch string, a lineAnswer) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := r.client.timeout + time.Duration(len(r.body))*time.Second/slowestUpload
	silent := time.AfterFunc(limit, func() { cancel(errSilent) })
	defer silent.Stop()
	res, err := r.post(ctx)
	if err != nil {
		return reasonOf(ctx, err)
	}
	defer res.Body.Close() //nolint:errcheck // it is read, or cancelled
	if res.StatusCode != http.StatusOK {
		return reasonOf(ctx, readError(res))
	}
	epoch := res.Header.Get(chatsvc.HeaderEpoch)
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		silent.Reset(limit)
		var a lineAnswer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil || epoch == "" || a.Code == 0 && a.Offset == 0 {
			return fmt.Errorf("%w: a message was answered with %.100q", errNoPosition, lines.Text())
		}
		if err := answered(epoch, a); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return reasonOf(ctx, connect.NewError(connect.CodeUnavailable, err))
	}
	return io.EOF
}

// post sends the request.
func (r *linesRequest) post(ctx context.Context) (*http.Response, error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { r.wrote.Add(1) }})
	procedure := strings.TrimSuffix(r.server.url, "/") + chatconnect.SimpleChatSendMessageProcedure
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, procedure, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	maps.Copy(req.Header, r.client.header)
	req.Header.Set("Content-Type", contentTypeLines)
	req.Header.Set(chatsvc.HeaderOrdered, "true")
	res, err := r.client.http.Do(req)
	if err != nil {
		if wrapped := new(url.Error); errors.As(err, &wrapped) {
			err = wrapped.Err // callers name the server themselves
		}
		return nil, connect.NewError(connect.CodeUnavailable, err)
	}
	return res, nil
}

// reasonOf returns why a request failed: err, unless it was cut.
func reasonOf(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errSilent) {
		return connect.NewError(connect.CodeUnavailable, errSilent)
	}
	return err
}

// lineAnswer is the answer to a message of a request with many.
type lineAnswer struct {
	Offset    uint64 `json:"offset,string"`
	Duplicate bool   `json:"duplicate"`

	Code       connect.Code `json:"code"`
	Message    string       `json:"message"`
	RetryAfter int          `json:"retryAfter"` // seconds
}

// err returns why the message was not stored, or nil.
func (a lineAnswer) err() error {
	if a.Code == 0 {
		return nil
	}
	err := connect.NewError(a.Code, errors.New(a.Message))
	if a.RetryAfter > 0 {
		err.Meta().Set(chatsvc.HeaderRetryAfter, strconv.Itoa(a.RetryAfter))
	}
	return err
}

// readError returns the error in a response that does not answer messages.
func readError(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer)) // cut JSON is not valid, and is ignored
	var a lineAnswer
	if json.Unmarshal(body, &a) != nil || a.Code == 0 {
		a.Code, a.Message = codeOfStatus(res.StatusCode), "HTTP status "+res.Status
	}
	err := connect.NewError(a.Code, errors.New(a.Message))
	if after := res.Header.Get(chatsvc.HeaderRetryAfter); after != "" {
		err.Meta().Set(chatsvc.HeaderRetryAfter, after)
	}
	return err
}

// codeOfStatus returns the code that the Connect protocol assigns to the HTTP status of a
// response without a code.
func codeOfStatus(status int) connect.Code {
	switch status {
	case http.StatusBadRequest:
		return connect.CodeInternal
	case http.StatusUnauthorized:
		return connect.CodeUnauthenticated
	case http.StatusForbidden:
		return connect.CodePermissionDenied
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return connect.CodeUnimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return connect.CodeUnavailable
	default:
		return connect.CodeUnknown
	}
}
