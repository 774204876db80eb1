package chattest

import (
	"context"
	"fmt"
	"testing"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Subscription reads a messageList stream message by message. One goroutine at a time may
// use it.
type Subscription struct {
	tb testing.TB
	// Stream is the stream that it reads from.
	Stream *connect.ServerStreamForClient[chatpb.ChatMessages]
	// Pending are messages that have arrived and that it has not returned yet.
	Pending []*chatpb.ChatMessage
}

// Subscribe opens a stream, and returns when the first batch has arrived: its messages are
// pending. The stream is closed when the test ends.
func Subscribe(ctx context.Context, tb testing.TB, client chatconnect.SimpleChatClient) *Subscription {
	tb.Helper()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = stream.Close() })
	if !stream.Receive() {
		tb.Fatalf("no first batch: %v", stream.Err())
	}
	return &Subscription{tb: tb, Stream: stream, Pending: stream.Msg().GetMessages()}
}

// Next returns the next message. It fails the test if the stream ends instead.
func (s *Subscription) Next() *chatpb.ChatMessage {
	s.tb.Helper()
	msg, err := s.Receive()
	if err != nil {
		s.tb.Fatal(err)
	}
	return msg
}

// Receive is Next for goroutines other than the test's own: it returns the error.
func (s *Subscription) Receive() (*chatpb.ChatMessage, error) {
	for len(s.Pending) == 0 {
		if !s.Stream.Receive() {
			return nil, fmt.Errorf("stream ended: %w", s.Stream.Err())
		}
		s.Pending = s.Stream.Msg().GetMessages()
	}
	msg := s.Pending[0]
	s.Pending = s.Pending[1:]
	return msg, nil
}

// Collect returns the next n messages, each as its sender, a space and its content, and the
// rest of the batch that holds the last of them. It returns fewer, and fails the test, if the
// stream ends before.
func (s *Subscription) Collect(n int) []string {
	s.tb.Helper()
	var got []string
	for len(got) < n {
		for len(s.Pending) == 0 {
			if !s.Stream.Receive() {
				s.tb.Errorf("stream ended after %d of %d messages: %v", len(got), n, s.Stream.Err())
				return got
			}
			s.Pending = s.Stream.Msg().GetMessages()
		}
		for _, msg := range s.Pending {
			got = append(got, msg.GetFrom()+" "+string(msg.GetContent()))
		}
		s.Pending = nil
	}
	return got
}

// EndsWith reads the stream to its end, and checks that the server ends it with a code in
// its trailers. An error of the client's own would mean that the connection broke.
func (s *Subscription) EndsWith(code connect.Code) {
	s.tb.Helper()
	for s.Stream.Receive() {
	}
	if err := s.Stream.Err(); connect.CodeOf(err) != code || !connect.IsWireError(err) {
		s.tb.Errorf("stream ended with %v, %v from the server was due", err, code)
	}
}
