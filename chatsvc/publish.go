package chatsvc

import (
	"context"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/fault"
	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Publish stores a message from a user, for bots and system messages in the process of
// the service. It is sendMessage without HTTP, with the same checks and the same
// durability, but without authentication and interceptors. The user need not be in the user
// database; the name has 1 to 256 bytes of UTF-8. From in msg is ignored, and a
// timestamp of zero means now. An error has a connect code: after invalid_argument and
// resource_exhausted the message was not stored; after unavailable it may have
// been stored. Publish is safe for concurrent use, and fails after [Service.Close].
func (s *Service) Publish(ctx context.Context, user User, msg *chatpb.ChatMessage) (Appended, error) {
	if user.Name == "" || len(user.Name) > maxUserName || !utf8.ValidString(user.Name) {
		return Appended{}, invalid("the user's name %q must have 1 to %d bytes of UTF-8", user.Name, maxUserName)
	}
	if err := s.check(msg); err != nil {
		return Appended{}, err
	}
	return s.store(ctx, encode(user, msg), "")
}

// encode returns the record of a message from a user, without unknown fields.
func encode(user User, msg *chatpb.ChatMessage) []byte {
	timestamp := msg.GetTimestamp()
	if timestamp == 0 {
		timestamp = uint64(time.Now().UnixMilli())
	}
	m := record.Message{Timestamp: timestamp, Content: msg.GetContent(), Type: uint64(msg.GetType()), From: user.Name}
	return m.Append(make([]byte, 0, m.Size()))
}

// check returns an error for messages that subscribers could not read.
func (s *Service) check(msg *chatpb.ChatMessage) error {
	if size := len(msg.GetContent()); size > s.maxContent {
		return tooLarge("the content has %d bytes, but at most %d are allowed: make the image smaller or split the text", size, s.maxContent)
	}
	if _, ok := chatpb.ChatMessage_ContentType_name[int32(msg.GetType())]; !ok {
		return invalid("the type is %d: send 0 (Unknown), 1 (Text) or 2 (Image)", msg.GetType())
	}
	if msg.GetType() == chatpb.ChatMessage_Text && !utf8.Valid(msg.GetContent()) {
		return invalid("the content is not UTF-8, which the type Text requires: encode it as UTF-8, or send it with the type Unknown")
	}
	return nil
}

// store appends a record, and returns when it is as durable as the log promises.
func (s *Service) store(ctx context.Context, encoded []byte, key string) (Appended, error) {
	if err := s.enter(&s.sends); err != nil {
		return Appended{}, err
	}
	defer s.sends.Done()
	began := time.Now()
	stored, err := s.log.Append(ctx, encoded, key)
	fault.At(fault.Appended)
	s.observe(time.Since(began), err)
	if err != nil {
		return Appended{}, s.appendError(ctx, err)
	}
	b := s.broker.Load()
	if stored.Epoch != b.epoch { // the message is lost, or the subscribers of b will not get it
		return Appended{}, connect.NewError(connect.CodeUnavailable, errNewEpochWhileSending)
	}
	b.acknowledge(stored.Offset)
	return stored, nil
}
