package chatsvc

import (
	"mime"
	"net/http"
	"strconv"
	"strings"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// face is the form of a call on the wire. Every call runs through connect with its
// interceptors: faces other than connect's own change the request on the way in and
// the response on the way out.
type face int

const (
	faceRPC     face = iota // gRPC, gRPC-Web in binary and Connect: connect's own
	faceWebText             // gRPC-Web in base64
	facePlain               // sendMessage: the body is the content
	faceMany                // sendMessage: a message on each line of the body
	faceLines               // messageList in JSON lines
	faceEvents              // messageList as server-sent events
	faceText                // messageList in readable lines
)

const (
	contentTypeJSON    = "application/json"
	contentTypeLines   = "application/x-ndjson"
	contentTypeEvents  = "text/event-stream"
	contentTypeText    = "text/plain"
	contentTypeForm    = "application/x-www-form-urlencoded"
	contentTypeWebText = "application/grpc-web-text"
	// contentTypeConnectJSON is Connect's stream of JSON messages, each in an
	// envelope (Connect protocol, "Streaming RPCs").
	contentTypeConnectJSON = "application/connect+json"
	contentTypeProto       = "application/proto"
	contentTypeWeb         = "application/grpc-web+proto"
)

// faceOf returns the face of a request. The media type is that of the request, without its
// parameters.
func faceOf(r *http.Request, mediaType string, params map[string]string) face {
	isSend := r.URL.Path == chatconnect.SimpleChatSendMessageProcedure
	switch {
	case mediaType == contentTypeWebText, mediaType == contentTypeWebText+"+proto":
		return faceWebText
	case isSend && mediaType == contentTypeLines:
		return faceMany
	case isSend && plainType(mediaType, params) != 0:
		return facePlain
	case !isSend && (r.Method == http.MethodGet || mediaType == contentTypeJSON):
		return acceptedFace(r.Header)
	default:
		return faceRPC
	}
}

// isStream reports whether the face is one of messageList for clients that read lines.
func (f face) isStream() bool { return f == faceLines || f == faceEvents || f == faceText }

// methods returns the allowed methods of a call with this face.
func (f face) methods() []string {
	if f.isStream() {
		return []string{http.MethodGet, http.MethodPost}
	}
	return []string{http.MethodPost}
}

// allowedMethods returns the methods of a procedure in all its faces.
func allowedMethods(path string) []string {
	if path == chatconnect.SimpleChatMessageListProcedure {
		return faceLines.methods()
	}
	return faceRPC.methods()
}

// acceptedFace returns the face that a request's Accept prefers. It returns faceLines if the
// header is missing or names none of the faces.
func acceptedFace(h http.Header) face {
	best, most := faceLines, 0.0
	for part := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, err := strconv.ParseFloat(params["q"], 64); err == nil {
			weight = q
		}
		if weight <= most {
			continue
		}
		switch mediaType {
		case contentTypeLines, contentTypeJSON, "*/*":
			best, most = faceLines, weight
		case contentTypeEvents:
			best, most = faceEvents, weight
		case contentTypeText:
			best, most = faceText, weight
		}
	}
	return best
}

// form is the form of the batches for a subscriber.
type form int

const (
	formProto  form = iota // an envelope around a serialized ChatMessages
	formJSON               // an envelope around its JSON form
	formLines              // its JSON form on a line of its own (application/x-ndjson)
	formEvents             // a server-sent event for each message
	formText               // a readable line for each message
)

// formOf returns the form of a stream with a face and the content type of its request.
func formOf(f face, contentType string) form {
	switch {
	case f == faceLines || f == faceMany:
		return formLines
	case f == faceEvents:
		return formEvents
	case f == faceText:
		return formText
	case strings.Contains(contentType, "+json"):
		return formJSON
	default:
		return formProto
	}
}

// isJSON reports whether the form uses the JSON forms of messages.
func (f form) isJSON() bool { return f == formJSON || f == formLines || f == formEvents }

// contentType returns the content type of a response in lines.
func (f form) contentType() string {
	switch f {
	case formEvents:
		return contentTypeEvents
	case formText:
		return contentTypeText + "; charset=utf-8"
	default:
		return contentTypeLines
	}
}
