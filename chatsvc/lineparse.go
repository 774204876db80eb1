package chatsvc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// parseLine parses a line as a message in protobuf's JSON. It may have the field "key" in
// addition to the fields of the scheme.
func parseLine(line []byte) (msg *chatpb.ChatMessage, key string, hasKey bool, err error) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(line, &fields) == nil && fields["key"] != nil {
		if err := json.Unmarshal(fields["key"], &key); err != nil {
			return nil, "", false, errors.New("the key of a message must be a string")
		}
		hasKey = true
		delete(fields, "key")
		if line, err = json.Marshal(fields); err != nil {
			return nil, "", false, err
		}
	}
	msg = &chatpb.ChatMessage{}
	if err := (jsonCodec{}).Unmarshal(line, msg); err != nil {
		return nil, "", false, err
	}
	return msg, key, hasKey, nil
}

// simpleLine is a message on a line that has only strings without escapes.
type simpleLine struct {
	content []byte // in base64
	kind    chatpb.ChatMessage_ContentType
	hasKey  bool
}

// parseSimpleLine is parseLine for the form that most programs write, at a tenth of the
// cost: content in standard base64, the type by name, and optionally a key. For all other
// lines, valid or not, ok is false.
func parseSimpleLine(line []byte) (m simpleLine, key string, ok bool) {
	rest, ok := skip(line, '{')
	var hasContent, hasType bool
	for ok {
		var name, value []byte
		if name, rest, ok = simpleString(rest); !ok {
			break
		}
		if rest, ok = skip(rest, ':'); !ok {
			break
		}
		if value, rest, ok = simpleString(rest); !ok {
			break
		}
		switch {
		case string(name) == "content" && !hasContent:
			m.content, hasContent = value, true
		case string(name) == "type" && !hasType:
			number, known := chatpb.ChatMessage_ContentType_value[string(value)]
			m.kind, hasType, ok = chatpb.ChatMessage_ContentType(number), true, known
		case string(name) == "key" && !m.hasKey:
			key, m.hasKey, ok = string(value), true, utf8.Valid(value)
		default:
			ok = false
		}
		if comma, isMore := skip(rest, ','); isMore {
			rest = comma
			continue
		}
		break
	}
	rest, closed := skip(rest, '}')
	return m, key, ok && closed && len(bytes.TrimSpace(rest)) == 0 && hasType && m.isValid()
}

// skip removes c and the spaces before it from the begin of b.
func skip(b []byte, c byte) ([]byte, bool) {
	b = bytes.TrimLeft(b, " ")
	if len(b) == 0 || b[0] != c {
		return nil, false
	}
	return b[1:], true
}

// simpleString removes a JSON string without escapes from the begin of b.
func simpleString(b []byte) (value, rest []byte, ok bool) {
	b, ok = skip(b, '"')
	if !ok {
		return nil, nil, false
	}
	end := bytes.IndexByte(b, '"')
	if end < 0 {
		return nil, nil, false
	}
	for _, c := range b[:end] {
		if c < ' ' || c == '\\' {
			return nil, nil, false
		}
	}
	return b[:end], b[end+1:], true
}

// isValid reports whether the content is base64.
func (m simpleLine) isValid() bool {
	if len(m.content)%quantum != 0 {
		return false
	}
	var scratch [3 * 64]byte
	for rest := m.content; len(rest) > 0; {
		n := min(len(rest), quantum*64)
		decoded, err := base64.StdEncoding.Decode(scratch[:], rest[:n])
		if err != nil || decoded < n/quantum*3 && n < len(rest) { // padding in the middle
			return false
		}
		rest = rest[n:]
	}
	return true
}

// appendTo appends the message as a serialized ChatMessage.
func (m simpleLine) appendTo(b []byte) []byte {
	b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(m.kind))
	size := len(m.content) / quantum * 3
	size -= len(m.content) - len(bytes.TrimRight(m.content, "="))
	b = protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.BytesType), uint64(size))
	b, _ = base64.StdEncoding.AppendDecode(b, m.content) // it is valid
	return b
}
