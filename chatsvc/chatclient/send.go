package chatclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Sent says where a message was stored.
type Sent struct {
	Epoch  string
	Offset uint64
	// Duplicate means that the message had been stored by an earlier attempt of this send,
	// or by another send with the same key.
	Duplicate bool
}

// SendText is [Client.Send] for a text, in UTF-8.
func (c *Client) SendText(ctx context.Context, text string) (Sent, error) {
	return c.Send(ctx, &chatpb.ChatMessage{Content: []byte(text), Type: chatpb.ChatMessage_Text}, "")
}

// SendImage is [Client.Send] for the bytes of an image file.
func (c *Client) SendImage(ctx context.Context, image []byte) (Sent, error) {
	return c.Send(ctx, &chatpb.ChatMessage{Content: image, Type: chatpb.ChatMessage_Image}, "")
}

// Send sends msg until the server acknowledges it, refuses it or ctx is done.
// The server stores messages of one user with the same key once, within two
// minutes; without a key the send has one of its own. A key has 1 to 128 bytes,
// no control characters and no space at its ends.
//
// An error is [ErrUncertain] if the message may have been stored. Errors of the server
// have a connect code. The code resource_exhausted means that the message is too large or
// the server's disk is full; Send does not try again then. After a temporary limit, Send
// waits for as long as the server asks.
func (c *Client) Send(ctx context.Context, msg *chatpb.ChatMessage, key string) (Sent, error) {
	if err := checkKey(key); err != nil {
		return Sent{}, fmt.Errorf("send: %w", err)
	}
	if key == "" {
		key = rand.Text()
	}
	s := &sending{client: c, msg: msg, key: key}
	sent, err := s.run(ctx)
	switch {
	case err == nil:
		return sent, nil
	case s.uncertain.IsZero():
		return Sent{}, fmt.Errorf("send: %w", err)
	default:
		return Sent{}, &uncertainError{fmt.Errorf("send: %w", err)}
	}
}

// checkKey returns an error for a key that would be changed on the way to the server.
func checkKey(key string) error {
	switch {
	case strings.TrimSpace(key) != key: // HTTP/1.1 drops the space, HTTP/2 does not
		return fmt.Errorf("the key %q begins or ends with a space", key)
	case strings.ContainsFunc(key, unicode.IsControl):
		return fmt.Errorf("the key %q has a control character", key)
	}
	return nil
}

// uncertainError wraps err and [ErrUncertain].
type uncertainError struct{ err error }

func (e *uncertainError) Error() string        { return e.err.Error() }
func (e *uncertainError) Unwrap() error        { return e.err }
func (e *uncertainError) Is(target error) bool { return target == ErrUncertain }

// sending is one call of [Client.Send].
type sending struct {
	client    *Client
	msg       *chatpb.ChatMessage
	key       string
	uncertain time.Time // when the first attempt began that may have stored it; zero: none
}

// run makes attempts until one is final.
func (s *sending) run(ctx context.Context) (Sent, error) {
	pause := s.client.backoff()
	for {
		began := time.Now()
		server, failures := s.client.replica()
		sent, requests, err := s.attempt(ctx, server)
		if err == nil {
			return sent, nil
		}
		if s.uncertain.IsZero() && s.client.mayBeStored(err, requests) {
			s.uncertain = began
		}
		if isFinal(err) {
			return Sent{}, err
		}
		s.client.failed(failures)
		s.client.logger.Warn("send", slog.String("url", server.url), slog.Any("error", err))
		s.client.pause(ctx, pause, Retry{Server: server.url, Err: err})
		switch {
		case ctx.Err() != nil:
			return Sent{}, gaveUp(ctx, err)
		case keyPassed(s.uncertain, s.timeout()):
			return Sent{}, fmt.Errorf("the server may have forgotten the key, and would store the message again; the last attempt: %w", err)
		}
	}
}

// gaveUp returns why no further attempt is made after ctx is done, with the error of the last
// one unless that is the end of ctx, too.
func gaveUp(ctx context.Context, last error) error {
	if errors.Is(last, ctx.Err()) {
		return &noAnswerError{context.Cause(ctx), last}
	}
	return fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), last)
}

// noAnswerError is the end of an attempt by that of its context. The text of last would say the
// same as that of cause.
type noAnswerError struct{ cause, last error }

func (e *noAnswerError) Error() string   { return e.cause.Error() + "; the last attempt got no answer" }
func (e *noAnswerError) Unwrap() []error { return []error{e.cause, e.last} }

// timeout bounds one attempt.
func (s *sending) timeout() time.Duration {
	return s.client.timeout + time.Duration(len(s.msg.GetContent()))*time.Second/slowestUpload
}

// attempt sends the message once, and returns how many requests were written for that.
func (s *sending) attempt(ctx context.Context, server replica) (_ Sent, requests int, _ error) {
	var wrote atomic.Int64
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote.Add(1) }})
	ctx, cancel := context.WithTimeout(ctx, s.timeout())
	defer cancel()
	ctx, call := s.client.newCall(ctx)
	call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, s.key)
	_, err := server.rpc.SendMessage(ctx, s.msg)
	if err != nil {
		return Sent{}, int(wrote.Load()), err
	}
	epoch, offset, _, err := readPosition(call.ResponseHeader())
	if err != nil {
		return Sent{}, int(wrote.Load()), err
	}
	duplicate := call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true"
	return Sent{Epoch: epoch, Offset: offset, Duplicate: duplicate}, int(wrote.Load()), nil
}
