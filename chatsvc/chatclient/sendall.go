package chatclient

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

const (
	// manyMessages and manyContent bound what is sent in one request, in messages and in
	// bytes of content, unless a single message is larger.
	manyMessages = 4096
	manyContent  = 1 << 20
	// fewMessages is the smallest number of messages in a request after a limit has refused
	// a part of the one before.
	fewMessages = 16
)

// SendAll sends messages in their order, many in one request, until the server has
// acknowledged or refused each of them or ctx is done. It calls outcome for each message,
// in order and from the caller's own goroutine: with where it was stored, or with the error for
// which the server refused it. A message that is refused does not end the others.
//
// Each message has a key of its own, as in [Client.Send], and messages without an answer
// are sent again. An error says why SendAll gave up; no outcome is known of the messages
// after the last call of outcome. It is [ErrUncertain] if some of them may have been
// stored.
//
// Between a limit or a failure of the server and the next attempt nothing is stored, so
// the order is kept, if the server knows [chatsvc.HeaderOrdered].
func (c *Client) SendAll(ctx context.Context, msgs []*chatpb.ChatMessage, outcome func(i int, sent Sent, err error)) error {
	s := &sendingAll{
		client: c, msgs: msgs, outcome: outcome,
		keys: rand.Text(), limit: manyMessages, uncertain: make([]time.Time, len(msgs)),
	}
	err := s.run(ctx)
	for _, since := range s.uncertain[s.done:] {
		if err != nil && !since.IsZero() {
			return &uncertainError{fmt.Errorf("send: %w", err)}
		}
	}
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

// sendingAll is one call of [Client.SendAll].
type sendingAll struct {
	client    *Client
	msgs      []*chatpb.ChatMessage
	outcome   func(i int, sent Sent, err error)
	keys      string      // the beginning of all keys
	done      int         // how many messages have an outcome
	limit     int         // largest number of messages in the next request
	uncertain []time.Time // when the first request began that may have stored each message; zero: none
}

// run makes requests until all messages have an outcome.
func (s *sendingAll) run(ctx context.Context) error {
	pause := s.client.backoff()
	for s.done < len(s.msgs) {
		before := s.done
		server, failures := s.client.replica()
		err := s.attempt(ctx, server)
		if s.done > before {
			pause.reset()
		}
		switch {
		case err == nil:
			s.limit = min(2*s.limit, manyMessages)
			continue
		case isFinal(err):
			return err
		}
		if _, isLimited := retryAfter(err); isLimited {
			s.limit = max(2*(s.done-before), fewMessages)
		} else {
			s.client.failed(failures)
		}
		s.client.logger.Warn("send", slog.String("url", server.url), slog.Any("error", err))
		s.client.pause(ctx, pause, Retry{Server: server.url, Err: err})
		switch {
		case ctx.Err() != nil:
			return gaveUp(ctx, err)
		case keyPassed(s.uncertain[s.done], s.client.timeout):
			return fmt.Errorf("the server may have forgotten the key, and would store the message again; the last attempt: %w", err)
		}
	}
	return nil
}

// attempt sends the next messages in a request. Its error is why not all of them have
// an outcome.
func (s *sendingAll) attempt(ctx context.Context, server replica) error {
	began, count := time.Now(), s.next()
	request := &linesRequest{client: s.client, server: server}
	for i := s.done; i < s.done+count; i++ {
		request.add(s.msgs[i], s.keys+strconv.Itoa(i))
	}
	end := s.done + count
	err := request.run(ctx, func(epoch string, a lineAnswer) error {
		if s.done == end { // the reason why the server ended the request, not an answer
			return io.EOF
		}
		return s.answered(epoch, a)
	})
	if errors.Is(err, io.EOF) && s.done == end {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errEnded
	}
	if s.client.mayBeStored(err, int(request.wrote.Load())) {
		for i := s.done; i < end; i++ {
			if s.uncertain[i].IsZero() {
				s.uncertain[i] = began
			}
		}
	}
	return err
}

// next returns how many messages go into the next request.
func (s *sendingAll) next() int {
	size := 0
	for i, msg := range s.msgs[s.done:] {
		size += len(msg.GetContent())
		if i == s.limit || i > 0 && size > manyContent {
			return i
		}
	}
	return len(s.msgs) - s.done
}

// answered handles the answer to the next message. It returns an error if that message
// and those after it must be sent again.
func (s *sendingAll) answered(epoch string, a lineAnswer) error {
	err := a.err()
	switch {
	case err == nil:
		s.finish(Sent{Epoch: epoch, Offset: a.Offset, Duplicate: a.Duplicate}, nil)
		return nil
	case connect.CodeOf(err) == connect.CodeUnauthenticated || !isFinal(err):
		return err
	default:
		s.finish(Sent{}, err)
		return nil
	}
}

// finish calls outcome for the next message.
func (s *sendingAll) finish(sent Sent, err error) {
	i := s.done
	s.done++
	s.outcome(i, sent, err)
}

// keyPassed reports whether a request that begins now and lasts for timeout at most may
// reach the log after the log has forgotten the key of a message. The message may have
// been stored since the given time; zero means that it was not.
func keyPassed(since time.Time, timeout time.Duration) bool {
	if since.IsZero() {
		return false
	}
	// The wall clock runs while a computer sleeps, and the monotonic clock never jumps.
	passed := max(time.Since(since), time.Since(since.Round(0)))
	return passed+timeout > chatsvc.KeyWindow
}
