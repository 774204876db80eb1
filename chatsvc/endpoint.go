package chatsvc

import (
	"context"
	"mime"
	"net/http"
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
	bodies      *bodyBudget
}

// ServeHTTP implements [http.Handler].
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	contentType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		contentType = ""
	}
	content := 0
	if r.URL.Path == chatconnect.SimpleChatSendMessageProcedure {
		content = e.maxContent
	}
	body := newRequestBody(w, r, contentType, content, e.bodies)
	defer body.finish()
	res := &response{writer: w, body: body, lines: contentType == contentTypeJSON && content == 0}
	// A copy of the request: net/http looks at the body of its own to see
	// whether the connection can be used again.
	r = r.WithContext(context.WithValue(r.Context(), responseKey{}, res))
	r.Body = body
	answer := &answerWriter{ResponseWriter: w, body: body, whole: content > 0}
	switch {
	case r.URL.Path != chatconnect.SimpleChatMessageListProcedure && r.URL.Path != chatconnect.SimpleChatSendMessageProcedure:
		http.Error(answer, "no such procedure: there are messageList and sendMessage", http.StatusNotFound)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(answer, "use POST: every call is one", http.StatusMethodNotAllowed)
	case res.lines:
		lines := newLinesWriter(answer)
		e.rpc.ServeHTTP(lines, asStream(r))
		lines.finish(r, e.errorWriter)
	default:
		e.rpc.ServeHTTP(answer, r)
	}
	answer.begin() // an answer of trailers alone
}

// answerWriter is what connect writes to.
type answerWriter struct {
	http.ResponseWriter

	body  *requestBody
	whole bool // the answer leaves when the call ends, all in one
	begun bool // the headers are out
}

// WriteHeader implements [http.ResponseWriter]. It says what to do when connect
// refuses a content type, which it does with an empty body, and tells a message that
// is too large from a limit that passes: clients such as curl --retry repeat a 429.
func (w *answerWriter) WriteHeader(status int) {
	w.begin()
	if status == http.StatusUnsupportedMediaType {
		http.Error(w.ResponseWriter, "unsupported content type: send 'Content-Type: application/json', or one of those in the header Accept-Post", status)
		return
	}
	if status == http.StatusTooManyRequests && w.body.isLarge {
		status = http.StatusRequestEntityTooLarge
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (w *answerWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// Flush implements [http.Flusher], which connect's streams need. It flushes after
// the one message of a gRPC answer too, which would cost a write of its own.
func (w *answerWriter) Flush() {
	w.begin()
	if w.whole {
		return
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// begin makes an answer that comes before the end of the request's body the
// connection's last one. Otherwise net/http would hold it back until that body
// is there.
func (w *answerWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	w.dropEmptyEncoding()
	if w.body.unread() {
		w.Header().Set("Connection", "close")
	}
}

// dropEmptyEncoding removes the encoding of an answer without one, with which connect
// refuses a compressed request: gRPC's C core logs it as an error.
func (w *answerWriter) dropEmptyEncoding() {
	for _, name := range []string{"Grpc-Encoding", "Connect-Content-Encoding", "Content-Encoding"} {
		if values, ok := w.Header()[name]; ok && strings.Join(values, "") == "" {
			delete(w.Header(), name)
		}
	}
}

// response is what a stream's handler writes to, past connect.
type response struct {
	writer http.ResponseWriter
	body   *requestBody
	lines  bool
}

type responseKey struct{}

func responseFrom(ctx context.Context) *response {
	return ctx.Value(responseKey{}).(*response) //nolint:forcetypeassert // endpoint puts it there for every call
}
