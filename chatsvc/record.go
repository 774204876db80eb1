package chatsvc

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// A record is the bytes of a ChatMessages that holds exactly one message.
// Concatenating serialized messages merges them, and merging repeated fields
// appends (protobuf's encoding specification, "Last One Wins"), so n records
// behind each other are one valid ChatMessages of n messages: what is stored
// is what is sent.

var errNotRecord = errors.New("not a record")

// encodeRecord returns m as a record.
func encodeRecord(m *chatpb.ChatMessage) ([]byte, error) {
	return proto.Marshal(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{m}})
}

// message is a record's one message; content aliases the record.
type message struct {
	timestamp   uint64
	content     []byte
	contentType uint64
	from        string
}

// parseRecord checks that b is exactly one record with fields of the scheme,
// and returns its message.
func parseRecord(b []byte) (message, error) {
	body, rest, err := splitRecord(b)
	if err != nil {
		return message{}, err
	}
	if len(rest) > 0 {
		return message{}, fmt.Errorf("%w: %d bytes behind the first message", errNotRecord, len(rest))
	}
	return parseMessage(body)
}

// splitRecord takes the first record off b: body is its message, still
// encoded, and rest is what follows.
func splitRecord(b []byte) (body, rest []byte, err error) {
	num, typ, n := protowire.ConsumeTag(b)
	if n < 0 || num != 1 || typ != protowire.BytesType {
		return nil, nil, fmt.Errorf("%w: it does not begin with a message", errNotRecord)
	}
	body, m := protowire.ConsumeBytes(b[n:])
	if m < 0 {
		return nil, nil, fmt.Errorf("%w: its message is cut: %w", errNotRecord, protowire.ParseError(m))
	}
	return body, b[n+m:], nil
}

func parseMessage(b []byte) (message, error) {
	var m message
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return message{}, fmt.Errorf("%w: field: %w", errNotRecord, protowire.ParseError(n))
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
			return message{}, fmt.Errorf("%w: field %d has wire type %d", errNotRecord, num, typ)
		}
		if n < 0 {
			return message{}, fmt.Errorf("%w: field %d: %w", errNotRecord, num, protowire.ParseError(n))
		}
		b = b[n:]
		switch {
		case num == 1 && typ == protowire.VarintType:
			m.timestamp = number
		case num == 2 && typ == protowire.BytesType:
			m.content = value
		case num == 3 && typ == protowire.VarintType:
			m.contentType = number
		case num == 4 && typ == protowire.BytesType && utf8.Valid(value):
			m.from = string(value)
		default:
			return message{}, fmt.Errorf("%w: field %d is not of the scheme", errNotRecord, num)
		}
	}
	if _, ok := chatpb.ChatMessage_ContentType_name[int32(min(m.contentType, 1<<31-1))]; !ok {
		return message{}, fmt.Errorf("%w: type %d is not of the scheme", errNotRecord, m.contentType)
	}
	return m, nil
}

// appendJSON appends the message's JSON form, as protobuf's JSON mapping has
// it: zero values left out, the timestamp a string, the content base64.
func (m message) appendJSON(b []byte) ([]byte, error) {
	b = append(b, '{')
	if m.timestamp != 0 {
		b = append(b, `"timestamp":"`...)
		b = strconv.AppendUint(b, m.timestamp, 10)
		b = append(b, `",`...)
	}
	if len(m.content) > 0 {
		b = append(b, `"content":"`...)
		b = base64.StdEncoding.AppendEncode(b, m.content)
		b = append(b, `",`...)
	}
	if m.contentType != 0 {
		b = append(b, `"type":"`...)
		b = append(b, chatpb.ChatMessage_ContentType(m.contentType).String()...)
		b = append(b, `",`...)
	}
	if m.from != "" {
		name, err := json.Marshal(m.from)
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
