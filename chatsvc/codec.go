package chatsvc

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// jsonCodec is connect's JSON codec, but strict: a misspelt field or an unknown
// content type is an error. Connect's own codec would ignore it. The scheme never
// changes, so there are no newer clients with unknown fields.
type jsonCodec struct{ name string }

var _ connect.Codec = jsonCodec{}

// Name implements [connect.Codec].
func (c jsonCodec) Name() string { return c.name }

// Marshal implements [connect.Codec].
func (c jsonCodec) Marshal(m any) ([]byte, error) {
	msg, err := protoMessage(m)
	if err != nil {
		return nil, err
	}
	return protojson.Marshal(msg)
}

// Unmarshal implements [connect.Codec].
func (c jsonCodec) Unmarshal(data []byte, m any) error {
	msg, err := protoMessage(m)
	if err != nil {
		return err
	}
	if len(data) == 0 {
		return errors.New("the body is empty: send a JSON object, at least {}")
	}
	if err := protojson.Unmarshal(data, msg); err != nil {
		return fmt.Errorf("%w; send %s as protobuf's JSON: bytes in base64, enums by name", jsonError(err), msg.ProtoReflect().Descriptor().Name())
	}
	if sent, ok := msg.(*chatpb.ChatMessage); ok && sent.GetType() == chatpb.ChatMessage_Unknown && !bytes.Contains(data, []byte(`"type"`)) {
		return checkUntyped(sent.GetContent())
	}
	return nil
}

// checkUntyped refuses content that is most likely text without base64: many words are
// valid base64.
func checkUntyped(content []byte) error {
	if utf8.Valid(content) || strings.HasPrefix(http.DetectContentType(content), "image/") {
		return nil
	}
	return errors.New("the content is neither text nor an image, and the type is missing: encode the content in base64 and add its type, or send the text itself with 'Content-Type: text/plain'")
}

// protoCodec is connect's protobuf codec with a clearer error.
type protoCodec struct{}

var _ connect.Codec = protoCodec{}

// Name implements [connect.Codec].
func (protoCodec) Name() string { return "proto" }

// Marshal implements [connect.Codec].
func (protoCodec) Marshal(m any) ([]byte, error) {
	msg, err := protoMessage(m)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(msg)
}

// MarshalAppend lets connect marshal into its own buffers.
func (protoCodec) MarshalAppend(b []byte, m any) ([]byte, error) {
	msg, err := protoMessage(m)
	if err != nil {
		return nil, err
	}
	return proto.MarshalOptions{}.MarshalAppend(b, msg)
}

// Unmarshal implements [connect.Codec].
func (protoCodec) Unmarshal(data []byte, m any) error {
	msg, err := protoMessage(m)
	if err != nil {
		return err
	}
	if err := proto.Unmarshal(data, msg); err != nil {
		return fmt.Errorf("the body is not a serialized %s, or a string in it is not UTF-8: send the message in protobuf's binary form", msg.ProtoReflect().Descriptor().FullName())
	}
	return nil
}

func protoMessage(m any) (proto.Message, error) {
	msg, ok := m.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a protobuf message", m)
	}
	return msg, nil
}

// jsonErrorBytes is how many bytes of protojson's error are shown, which quotes the message.
const jsonErrorBytes = 200

// jsonError returns the beginning of protojson's error without its prefix and its random
// no-break spaces, in ASCII.
func jsonError(err error) error {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	if len(text) > jsonErrorBytes {
		end := jsonErrorBytes
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end] + "..."
	}
	return errors.New(text)
}
