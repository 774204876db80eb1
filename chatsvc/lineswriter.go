package chatsvc

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
)

// endTime is how long the last line of a stream that ends with an error may take.
const endTime = 5 * time.Second

// resetPause is how long the reset of an HTTP/2 stream waits behind that line: curl
// forgets what it has not written yet when it learns of the reset.
const resetPause = 100 * time.Millisecond

// linesWriter turns a Connect stream of JSON messages into what a reader of lines
// understands: JSON lines, server-sent events or readable text. The call runs through
// connect like any other, with its interceptors, so that there is one way in. Batches
// go to the underlying writer directly; what connect itself writes is the end of the
// stream, and that arrives here.
type linesWriter struct {
	http.ResponseWriter

	form  form
	begun bool         // the headers are out: lines may follow
	end   bytes.Buffer // the envelope that ends the stream
}

// newLinesWriter returns a writer that answers a Connect stream in lines of a form. The
// caller calls finish after the handler.
func newLinesWriter(w http.ResponseWriter, f form) *linesWriter {
	return &linesWriter{ResponseWriter: w, form: f}
}

// asStream returns a request for lines as that for a Connect stream. The body is one
// JSON message; a GET has none.
func asStream(r *http.Request) *http.Request {
	stream := r.Clone(r.Context())
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
		stream.Header.Set("Connect-Content-Encoding", encoding) // the stream's name for it
	}
	stream.Header.Set("Content-Type", contentTypeConnectJSON)
	src := r.Body
	if r.Method == http.MethodGet {
		stream.Method = http.MethodPost
		src = io.NopCloser(strings.NewReader("{}"))
	}
	stream.Body = &framedBody{src: src, prefix: func(size int) []byte {
		prefix := envelopePrefix(size)
		return prefix[:]
	}}
	return stream
}

// WriteHeader implements [http.ResponseWriter]. Connect's stream has status 200
// even for errors: what to send is known at the first flush.
func (w *linesWriter) WriteHeader(int) {}

// Write implements [http.ResponseWriter].
func (w *linesWriter) Write(p []byte) (int, error) { return w.end.Write(p) }

// Flush implements [http.Flusher]. The first one without anything written is
// the stream's headers.
func (w *linesWriter) Flush() {
	if w.end.Len() > 0 {
		return
	}
	if !w.begun {
		w.begun = true
		w.dropConnectHeaders()
		h := w.Header()
		h.Set("Content-Type", w.form.contentType())
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff") // a browser may be looking at what users wrote
		if w.form == formEvents {
			h.Set("X-Accel-Buffering", "no") // nginx holds events back otherwise
		}
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// lineError is an error as Connect's JSON has it.
type lineError struct {
	Code       connect.Code `json:"code"`
	Message    string       `json:"message"`
	RetryAfter int          `json:"retryAfter,omitzero"` // seconds; 0: another call would fail as well
}

// passes reports whether the same call may succeed later.
func (e lineError) passes() bool {
	switch e.Code {
	case connect.CodeUnavailable, connect.CodeInternal, connect.CodeUnknown, connect.CodeAborted,
		connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return true
	default:
		return e.RetryAfter > 0
	}
}

// finish ends the response to r. An error becomes Connect's JSON with its HTTP status
// or, where lines are out, the last line. It reports whether the response must not end
// like one that is complete.
func (w *linesWriter) finish(r *http.Request, errorWriter *connect.ErrorWriter) (abort bool) {
	if w.end.Len() < prefixBytes {
		return false
	}
	var end struct {
		Error    json.RawMessage `json:"error"`
		Metadata http.Header     `json:"metadata"`
	}
	var wire lineError
	if err := json.Unmarshal(w.end.Bytes()[prefixBytes:], &end); err != nil || len(end.Error) == 0 {
		return false
	}
	if err := json.Unmarshal(end.Error, &wire); err != nil {
		wire.Code, wire.Message = connect.CodeInternal, "internal error: the server's log has the cause"
	}
	if w.begun {
		if wire.Code == connect.CodeCanceled { // nobody is there, or the response was cut
			return false
		}
		w.writeLast(wire, end.Error)
		if r.ProtoMajor > 1 {
			select {
			case <-time.After(resetPause):
			case <-r.Context().Done():
			}
		}
		return true
	}
	w.dropConnectHeaders()
	for name, values := range end.Metadata {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	writeJSONError(w.ResponseWriter, r, errorWriter, connect.NewError(wire.Code, errors.New(wire.Message)))
	return false
}

// writeLast writes the error that ends the stream, in the stream's form.
func (w *linesWriter) writeLast(wire lineError, asJSON []byte) {
	control := http.NewResponseController(w.ResponseWriter)
	_ = control.SetWriteDeadline(time.Now().Add(endTime)) // a writer without deadlines has its own way to end
	var line string
	switch w.form {
	case formEvents:
		line = "event: error\ndata: " + string(asJSON) + "\n\n"
	case formText:
		line = "error " + wire.Code.String() + ": " + wire.Message + "\n"
	default:
		line = string(asJSON) + "\n"
	}
	_, _ = io.WriteString(w.ResponseWriter, line)
	_ = control.Flush()
}

// writeJSONError answers a call with an error in the form that Connect gives to calls in
// JSON. The method and content type of the call do not matter.
func writeJSONError(w http.ResponseWriter, r *http.Request, errorWriter *connect.ErrorWriter, err error) {
	call := r.Clone(r.Context())
	call.Method = http.MethodPost
	call.Header.Set("Content-Type", contentTypeJSON)
	_ = errorWriter.Write(w, call, err)
}

// dropConnectHeaders removes what only readers of envelopes need.
func (w *linesWriter) dropConnectHeaders() {
	w.Header().Del("Connect-Accept-Encoding")
	w.Header().Del("Connect-Content-Encoding")
}
