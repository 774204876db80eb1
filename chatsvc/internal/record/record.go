// Package record is the stored form of a message: the bytes of a ChatMessages that holds
// exactly one message. Concatenating serialized messages merges them, and merging
// repeated fields appends (protobuf's encoding specification, "Last One Wins"), so n
// records in a row are one valid ChatMessages of n messages. A service therefore sends
// the stored bytes unchanged.
package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// ErrInvalid is wrapped by the errors of [Parse] and [Split].
var ErrInvalid = errors.New("not a record")

// Empty is the record of a message that cannot be read or was redacted: type
// Unknown, no sender, no content, no timestamp. Nobody changes it.
var Empty = []byte{0x0a, 0x00}

// Message is the one message of a record. It is not changed after it was parsed.
type Message struct {
	Timestamp uint64 // milliseconds since the Unix epoch
	Content   []byte // part of the record that was parsed, not a copy
	Type      uint64 // a chatpb.ChatMessage_ContentType
	From      string
}

// Append appends m as a record. It returns the bytes that proto.Marshal would.
func (m Message) Append(b []byte) []byte {
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(m.size()))
	if m.Timestamp != 0 {
		b = protowire.AppendTag(b, 1, protowire.VarintType)
		b = protowire.AppendVarint(b, m.Timestamp)
	}
	if len(m.Content) > 0 {
		b = protowire.AppendTag(b, 2, protowire.BytesType)
		b = protowire.AppendBytes(b, m.Content)
	}
	if m.Type != 0 {
		b = protowire.AppendTag(b, 3, protowire.VarintType)
		b = protowire.AppendVarint(b, m.Type)
	}
	if m.From != "" {
		b = protowire.AppendTag(b, 4, protowire.BytesType)
		b = protowire.AppendString(b, m.From)
	}
	return b
}

// Size returns the length of the record that [Message.Append] appends.
func (m Message) Size() int {
	n := m.size()
	return 1 + protowire.SizeBytes(n)
}

// size returns the length of the message without the record's own tag and
// length.
func (m Message) size() int {
	n := 0
	if m.Timestamp != 0 {
		n += 1 + protowire.SizeVarint(m.Timestamp)
	}
	if len(m.Content) > 0 {
		n += 1 + protowire.SizeBytes(len(m.Content))
	}
	if m.Type != 0 {
		n += 1 + protowire.SizeVarint(m.Type)
	}
	if m.From != "" {
		n += 1 + protowire.SizeBytes(len(m.From))
	}
	return n
}

// Parse checks that b is exactly one record with fields of the scheme,
// and returns its message.
func Parse(b []byte) (Message, error) {
	body, rest, err := Split(b)
	if err != nil {
		return Message{}, err
	}
	if len(rest) > 0 {
		return Message{}, fmt.Errorf("%w: %d bytes behind the first message", ErrInvalid, len(rest))
	}
	return parseMessage(body)
}

// Split takes the first record off b: body is its message, still
// encoded, and rest is what follows.
func Split(b []byte) (body, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != 1 || typ != protowire.BytesType {
		return nil, nil, fmt.Errorf("%w: it does not begin with a message", ErrInvalid)
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return nil, nil, fmt.Errorf("%w: its message is cut: %w", ErrInvalid, protowire.ParseError(m))
	}
	return body, b[n+m:], nil
}

func parseMessage(b []byte) (Message, error) {
	var m Message
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Message{}, fmt.Errorf("%w: field: %w", ErrInvalid, protowire.ParseError(n))
		}
		b = b[n:]
		var value []byte
		var number uint64
		switch typ {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			value, n = protowire.ConsumeBytes(b)
		default:
			return Message{}, fmt.Errorf("%w: field %d has wire type %d", ErrInvalid, num, typ)
		}
		if n < 0 {
			return Message{}, fmt.Errorf("%w: field %d: %w", ErrInvalid, num, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			m.Timestamp = number
		case num == 2 && typ == protowire.BytesType:
			m.Content = value
		case num == 3 && typ == protowire.VarintType:
			m.Type = number
		case num == 4 && typ == protowire.BytesType && utf8.Valid(value):
			m.From = string(value)
		default:
			return Message{}, fmt.Errorf("%w: field %d is not of the scheme", ErrInvalid, num)
		}
	}
	if _, ok := chatpb.ChatMessage_ContentType_name[int32(min(m.Type, 1<<31-1))]; !ok {
		return Message{}, fmt.Errorf("%w: type %d is not of the scheme", ErrInvalid, m.Type)
	}
	return m, nil
}

// AppendJSON appends the message's JSON form, as protobuf's JSON mapping has
// it: zero values left out, the timestamp a string, the content base64.
func (m Message) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, '{')
	if m.Timestamp != 0 {
		b = append(b, `"timestamp":"`...)
		b = strconv.AppendUint(b, m.Timestamp, 10)
		b = append(b, `",`...)
	}
	if len(m.Content) > 0 {
		b = append(b, `"content":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.Content)
		b = append(b, `",`...)
	}
	if m.Type != 0 {
		b = append(b, `"type":"`...)
		b = append(b, chatpb.ChatMessage_ContentType(m.Type).String()...)
		b = append(b, `",`...)
	}
	if m.From != "" {
		name, err := json.Marshal(m.From)
		if err != nil {
			return nil, fmt.Errorf("sender's name as JSON: %w", err)
		}
		b = append(b, `"from":`...)
		b = append(b, name...)
		b = append(b, ',')
	}
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, '}'), nil
}
