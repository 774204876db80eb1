package chatsvc

import (
	"context"
	"mime"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// endpoint is the HTTP side of the service: it sees to what connect leaves to
// net/http, gives each call its face, and hands it on to connect's handlers.
type endpoint struct {
	rpc         http.Handler
	many        http.Handler // sendMessage with a message on each line
	errorWriter *connect.ErrorWriter
	maxContent  int
	bodies      *bodyBudget
	manyBodies  *bodyBudget // the part of bodies that open requests with many messages may hold
	guard       siteGuard
}

// ServeHTTP implements [http.Handler].
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		mediaType = ""
	}
	f := faceOf(r, mediaType, params)
	content := 0
	if r.URL.Path == chatconnect.SimpleChatSendMessageProcedure {
		content = e.maxContent
	}
	body := newRequestBody(w, r, f, mediaType, content, e.bodies)
	defer body.finish()
	// A copy of the request: net/http looks at the body of its own to see
	// whether the connection can be used again.
	res := &response{writer: w, body: body, face: f}
	outer := r
	r = r.WithContext(context.WithValue(r.Context(), responseKey{}, res))
	r.Body = body
	answer := &answerWriter{ResponseWriter: w, body: body, whole: content > 0 && f != faceMany}
	switch {
	case r.URL.Path != chatconnect.SimpleChatMessageListProcedure && r.URL.Path != chatconnect.SimpleChatSendMessageProcedure:
		http.Error(answer, "no such procedure: there are messageList and sendMessage", http.StatusNotFound)
	case !slices.Contains(f.methods(), r.Method):
		w.Header().Set("Allow", strings.Join(allowedMethods(r.URL.Path), ", "))
		http.Error(answer, "use POST: every call is one, and messageList takes GET as well", http.StatusMethodNotAllowed)
	default:
		if err := e.guard.check(r, f); err != nil {
			writeJSONError(answer, r, e.errorWriter, err)
			break
		}
		e.serve(answer, r, outer, plainType(mediaType, params))
	}
	answer.begin() // an answer of trailers alone
}

// serve runs a call behind its face. Outer is the request as it came.
func (e *endpoint) serve(w *answerWriter, r, outer *http.Request, as chatpb.ChatMessage_ContentType) {
	res := responseFrom(r.Context())
	switch res.face {
	case facePlain:
		plain := &plainWriter{ResponseWriter: w, as: as}
		e.rpc.ServeHTTP(plain, asMessage(r, as))
		plain.finish()
	case faceWebText:
		text := newWebTextWriter(w, outer.Header.Get("Content-Type"))
		res.writer = text
		call := r.Clone(r.Context())
		call.Header.Set("Content-Type", contentTypeWeb)
		e.rpc.ServeHTTP(text, call)
		text.finish()
	case faceMany:
		e.serveMany(w, r, outer)
	case faceLines, faceEvents, faceText:
		e.serveLines(w, r)
	default:
		e.rpc.ServeHTTP(w, r)
	}
}

// serveLines runs messageList for a reader of lines.
func (e *endpoint) serveLines(w *answerWriter, r *http.Request) {
	res := responseFrom(r.Context())
	call := asStream(r)
	res.resumption, res.refused = applyQuery(call.Header, r.URL.RawQuery, res.face)
	lines := newLinesWriter(w, formOf(res.face, ""))
	w.Header().Add("Vary", "Accept")
	e.rpc.ServeHTTP(lines, call)
	if res.isDone {
		w.WriteHeader(http.StatusNoContent) // an EventSource does not connect again
		return
	}
	if lines.finish(r, e.errorWriter) {
		panic(http.ErrAbortHandler) // curl tells it from a stream that is complete
	}
}

// answerWriter is what connect writes to.
type answerWriter struct {
	http.ResponseWriter

	body  *requestBody
	whole bool // the answer leaves when the call ends, all in one
	begun bool // the headers are out
}

// Unwrap lets [http.ResponseController] reach the deadlines.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter]. It says what to do when connect
// refuses a content type, which it does with an empty body, and tells a message that
// is too large from a limit that passes: clients such as curl --retry repeat a 429.
func (w *answerWriter) WriteHeader(status int) {
	w.begin()
	if status == http.StatusUnsupportedMediaType {
		http.Error(w.ResponseWriter, "unsupported content type: send 'Content-Type: application/json', or one of those in the header Accept-Post; sendMessage takes text/plain in UTF-8, an image's type and application/x-ndjson as well", status)
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
func (w *answerWriter) Flush() { _ = w.FlushError() }

// FlushError implements what [http.ResponseController] looks for.
func (w *answerWriter) FlushError() error {
	w.begin()
	if w.whole {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
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

// response is what a call's handler knows of its face, and writes to past connect.
type response struct {
	resumption

	writer  http.ResponseWriter
	body    *requestBody
	face    face
	refused error        // why the URL is refused; nil if it is valid
	many    *manyRequest // the lines of sendMessage; nil for other calls
	line    *lineSend    // the line that this call is; nil for other calls
}

type responseKey struct{}

func responseFrom(ctx context.Context) *response {
	return ctx.Value(responseKey{}).(*response) //nolint:forcetypeassert // endpoint puts it there for every call
}
