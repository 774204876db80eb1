package chatsvc

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// endpoint is the HTTP side of the service: it sees to what connect leaves to
// net/http, and hands the rest on to connect's handlers.
type endpoint struct {
	rpc         http.Handler
	errorWriter *connect.ErrorWriter
	maxContent  int
}

// ServeHTTP implements [http.Handler].
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var content int
	var contentTypes []string
	switch r.URL.Path {
	case chatconnect.SimpleChatMessageListProcedure:
		contentTypes = []string{contentTypeConnectJSON, "application/connect+proto"}
	case chatconnect.SimpleChatSendMessageProcedure:
		contentTypes = []string{"application/proto"}
		content = e.maxContent
	default:
		http.Error(w, "no such procedure: there are messageList and sendMessage", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "use POST: every call is one", http.StatusMethodNotAllowed)
		return
	}
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		contentType = ""
	}
	res := &response{writer: w, lines: contentType == contentTypeJSON && content == 0}
	// A copy of the request: net/http looks at the body of its own to see
	// whether the connection can be used again.
	r = r.WithContext(context.WithValue(r.Context(), responseKey{}, res))
	r.Body = newRequestBody(w, r, contentType, content)
	switch {
	case res.lines:
		lines := newLinesWriter(w)
		e.rpc.ServeHTTP(lines, asStream(r))
		lines.finish(r, e.errorWriter)
	case contentType == contentTypeJSON, strings.HasPrefix(contentType, "application/grpc"), slices.Contains(contentTypes, contentType):
		e.rpc.ServeHTTP(w, r)
	default:
		e.rpc.ServeHTTP(&explainedWriter{w}, r)
	}
}

// explainedWriter says what to do when connect refuses a content type, which it
// does with an empty body.
type explainedWriter struct{ http.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *explainedWriter) WriteHeader(status int) {
	if status != http.StatusUnsupportedMediaType {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	http.Error(w.ResponseWriter, "unsupported content type: send 'Content-Type: application/json', or one of those in the header Accept-Post", status)
}

// Flush implements [http.Flusher], which connect's streams need.
func (w *explainedWriter) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() }

// response is what a stream's handler writes to, past connect.
type response struct {
	writer http.ResponseWriter
	lines  bool
}

type responseKey struct{}

func responseFrom(ctx context.Context) *response {
	return ctx.Value(responseKey{}).(*response) //nolint:forcetypeassert // endpoint puts it there for every call
}
