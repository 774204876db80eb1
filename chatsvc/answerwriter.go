package chatsvc

import (
	"net/http"
	"strings"
)

// answerWriter is the response writer that connect uses.
type answerWriter struct {
	http.ResponseWriter

	body  *limitedBody
	whole bool // the whole answer is sent when the call ends
	begun bool // the headers were sent
}

// Unwrap lets [http.ResponseController] reach the deadlines.
func (w *answerWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter]. If connect refuses a content type, which
// it does with an empty body, WriteHeader adds a text that says what to send. If a message
// is too large, the status becomes 413: clients such as curl --retry repeat a 429.
func (w *answerWriter) WriteHeader(status int) {
	w.begin()
	if status == http.StatusUnsupportedMediaType {
		http.Error(w.ResponseWriter, "unsupported content type: send 'Content-Type: application/json', or one of those in the header Accept-Post; sendMessage also accepts text/plain in UTF-8, image types and application/x-ndjson", status)
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

// Flush implements [http.Flusher], which connect's streams need. Connect also flushes
// after the only message of a gRPC answer; that would cost a separate write.
func (w *answerWriter) Flush() { _ = w.FlushError() }

// FlushError is called by [http.ResponseController].
func (w *answerWriter) FlushError() error {
	w.begin()
	if w.whole {
		return nil
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// begin makes the connection end after an answer that is sent before the whole request's
// body has arrived. Otherwise net/http would hold the answer back until then.
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

// dropEmptyEncoding removes an empty encoding header, which connect sends when it refuses a
// compressed request: gRPC's C core logs it as an error.
func (w *answerWriter) dropEmptyEncoding() {
	for _, name := range []string{"Grpc-Encoding", "Connect-Content-Encoding", "Content-Encoding"} {
		if values, ok := w.Header()[name]; ok && strings.Join(values, "") == "" {
			delete(w.Header(), name)
		}
	}
}
