package chatsvc

import (
	"io"
	"net/http"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// plainType returns the type of the message whose content is a body with a media type,
// or 0 if the media type is not that of content. Curl -d sends its body as a form.
func plainType(mediaType string, params map[string]string) chatpb.ChatMessage_ContentType {
	charset, hasCharset := params["charset"]
	switch {
	case mediaType == contentTypeText && (!hasCharset || strings.EqualFold(charset, "utf-8")), mediaType == contentTypeForm:
		return chatpb.ChatMessage_Text
	case strings.HasPrefix(mediaType, "image/"):
		return chatpb.ChatMessage_Image
	default:
		return chatpb.ChatMessage_Unknown
	}
}

// asMessage converts a request whose body is the content of a message to one whose body is
// the message.
func asMessage(r *http.Request, as chatpb.ChatMessage_ContentType) *http.Request {
	call := r.Clone(r.Context())
	call.Header.Set("Content-Type", contentTypeProto)
	call.ContentLength = -1
	call.Body = &framedBody{src: r.Body, prefix: func(size int) []byte { return contentPrefix(as, size) }}
	return call
}

// contentPrefix returns the bytes before size bytes of content in a serialized
// ChatMessage.
func contentPrefix(as chatpb.ChatMessage_ContentType, size int) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), uint64(as))
	return protowire.AppendVarint(protowire.AppendTag(b, 2, protowire.BytesType), uint64(size))
}

// plainWriter answers a send with JSON that a person can read: connect's own answer is an
// empty message. Errors are passed on unchanged, as Connect's JSON.
type plainWriter struct {
	http.ResponseWriter

	as     chatpb.ChatMessage_ContentType
	failed bool
}

// WriteHeader implements [http.ResponseWriter].
func (w *plainWriter) WriteHeader(status int) {
	if status != http.StatusOK {
		w.failed = true
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements [http.ResponseWriter].
func (w *plainWriter) Write(p []byte) (int, error) {
	if !w.failed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// finish answers a successful send with the offset and the type of the message.
func (w *plainWriter) finish() {
	if w.failed {
		return
	}
	h := w.Header()
	h.Set("Content-Type", contentTypeJSON)
	h.Del("Content-Length")
	answer := `{"offset":"` + h.Get(HeaderOffset) + `","type":"` + w.as.String() + `"`
	if h.Get(HeaderDuplicate) != "" {
		answer += `,"duplicate":true`
	}
	_, _ = io.WriteString(w.ResponseWriter, answer+"}\n")
}
