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

// endpoint is the HTTP side of the service. It gives each call its face, checks what
// connect does not check, and passes the call on to connect's handlers.
type endpoint struct {
	rpc         http.Handler
	many        http.Handler // sendMessage with a message on each line
	errorWriter *connect.ErrorWriter
	maxContent  int
	bodies      *bodyBudget
	manyBodies  *bodyBudget // the part of bodies for open requests with many messages
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
	body := newLimitedBody(w, r, f, mediaType, content, e.bodies)
	defer body.finish()
	// A copy of the request, because net/http checks the body of the original to see
	// whether the connection can be used again.
	res := &exchange{writer: w, body: body, face: f}
	outer := r
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, res))
	r.Body = body
	answer := &answerWriter{ResponseWriter: w, body: body, whole: content > 0 && f != faceMany}
	switch {
	case r.URL.Path != chatconnect.SimpleChatMessageListProcedure && r.URL.Path != chatconnect.SimpleChatSendMessageProcedure:
		http.Error(answer, "no such procedure: call messageList or sendMessage", http.StatusNotFound)
	case !slices.Contains(f.methods(), r.Method):
		w.Header().Set("Allow", strings.Join(allowedMethods(r.URL.Path), ", "))
		http.Error(answer, "use POST for every call; messageList also accepts GET", http.StatusMethodNotAllowed)
	default:
		if err := e.guard.check(r, f); err != nil {
			writeJSONError(answer, r, e.errorWriter, err)
			break
		}
		e.serve(answer, r, outer, plainType(mediaType, params))
	}
	answer.begin() // an answer that has only trailers
}

// serve runs a call with its face. Outer is the original request.
func (e *endpoint) serve(w *answerWriter, r, outer *http.Request, as chatpb.ChatMessage_ContentType) {
	res := exchangeFrom(r.Context())
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

// serveLines runs messageList for a client that reads lines.
func (e *endpoint) serveLines(w *answerWriter, r *http.Request) {
	res := exchangeFrom(r.Context())
	call := asStream(r)
	res.resumption, res.refused = applyQuery(call.Header, r.URL.RawQuery, res.face)
	lines := newLinesWriter(w, formOf(res.face, ""))
	w.Header().Add("Vary", "Accept")
	e.rpc.ServeHTTP(lines, call)
	if res.isDone {
		lines.dropConnectHeaders()
		w.Header().Del("Content-Type")      // there is no body
		w.WriteHeader(http.StatusNoContent) // an EventSource does not connect again
		return
	}
	if lines.finish(r, e.errorWriter) {
		panic(http.ErrAbortHandler) // so that curl does not take it for a complete stream
	}
}
