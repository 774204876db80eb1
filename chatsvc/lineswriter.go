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
	"google.golang.org/protobuf/types/known/anypb"
)

// endTime is the time for writing the last line of a stream that ends with an error.
const endTime = 5 * time.Second

// resetPause is the time between that line and the reset of an HTTP/2 stream: when curl
// receives the reset, it drops data that it has not written yet.
const resetPause = 100 * time.Millisecond

// linesWriter converts a Connect stream of JSON messages to lines: JSON lines, server-sent
// events or readable text. The call runs through connect with its interceptors, like any
// other call. Batches are written directly to the underlying writer. Connect itself writes
// only the end of the stream, which linesWriter keeps.
type linesWriter struct {
	http.ResponseWriter

	form  form
	begun bool         // the headers were sent, so lines may follow
	end   bytes.Buffer // the envelope that ends the stream
}

// newLinesWriter returns a writer that answers a Connect stream in lines of a form. The
// caller must call finish after the handler.
func newLinesWriter(w http.ResponseWriter, f form) *linesWriter {
	return &linesWriter{ResponseWriter: w, form: f}
}

// asStream converts a request for lines to a request for a Connect stream. The body is one
// JSON message; a GET has none.
func asStream(r *http.Request) *http.Request {
	stream := r.Clone(r.Context())
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
		stream.Header.Set("Connect-Content-Encoding", encoding) // the name of the header for a stream
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

// WriteHeader implements [http.ResponseWriter]. It does nothing: Connect's streams have the
// status 200 even for errors, so the status is known only at the first flush.
func (w *linesWriter) WriteHeader(int) {}

// Write implements [http.ResponseWriter].
func (w *linesWriter) Write(p []byte) (int, error) { return w.end.Write(p) }

// Flush implements [http.Flusher]. The first flush before any write sends the headers.
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
		h.Set("X-Content-Type-Options", "nosniff") // a browser may show text of users
		if w.form == formEvents {
			h.Set("X-Accel-Buffering", "no") // otherwise nginx holds events back
		}
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// lineError is an error in Connect's JSON form.
type lineError struct {
	Code       connect.Code `json:"code"`
	Message    string       `json:"message"`
	RetryAfter int          `json:"retryAfter,omitzero"` // seconds; 0: another call would fail too
}

// endError is the error at the end of a Connect stream.
type endError struct {
	lineError

	Details []struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	} `json:"details"`
}

// full returns the error with its details, as connect's writer of errors needs it.
func (e endError) full() *connect.Error {
	err := connect.NewError(e.Code, errors.New(e.Message))
	for _, detail := range e.Details {
		value, malformed := connect.DecodeBinaryHeader(detail.Value)
		if malformed != nil { // connect has encoded it
			continue
		}
		message := &anypb.Any{TypeUrl: "type.googleapis.com/" + detail.Type, Value: value}
		if made, malformed := connect.NewErrorDetail(message); malformed == nil {
			err.AddDetail(made)
		}
	}
	return err
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

// finish ends the response to r. An error becomes Connect's JSON with its HTTP status or,
// if the headers were sent already, the last line. Finish reports whether the response must
// be aborted, so that it does not look complete.
func (w *linesWriter) finish(r *http.Request, errorWriter *connect.ErrorWriter) (abort bool) {
	if w.end.Len() < prefixBytes {
		return false
	}
	var end struct {
		Error    json.RawMessage `json:"error"`
		Metadata http.Header     `json:"metadata"`
	}
	var wire endError
	if err := json.Unmarshal(w.end.Bytes()[prefixBytes:], &end); err != nil || len(end.Error) == 0 {
		return false
	}
	if err := json.Unmarshal(end.Error, &wire); err != nil {
		wire.Code, wire.Message = connect.CodeInternal, "internal error: the server's log has the cause"
	}
	if w.begun {
		if wire.Code == connect.CodeCanceled { // the client has left, or the response was cut
			return false
		}
		w.writeLast(wire.lineError, end.Error)
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
	writeJSONError(w.ResponseWriter, r, errorWriter, wire.full())
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

// writeJSONError answers a call with an error in Connect's JSON form, for any method and
// content type.
func writeJSONError(w http.ResponseWriter, r *http.Request, errorWriter *connect.ErrorWriter, err error) {
	call := r.Clone(r.Context())
	call.Method = http.MethodPost
	call.Header.Set("Content-Type", contentTypeJSON)
	_ = errorWriter.Write(w, call, err)
}

// dropConnectHeaders removes headers that only readers of envelopes need.
func (w *linesWriter) dropConnectHeaders() {
	w.Header().Del("Connect-Accept-Encoding")
	w.Header().Del("Connect-Content-Encoding")
}
