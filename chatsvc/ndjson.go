package chatsvc

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

const (
	contentTypeJSON  = "application/json"
	contentTypeLines = "application/x-ndjson"
	// contentTypeConnectJSON is Connect's stream of JSON messages, each in an
	// envelope (Connect protocol, "Streaming RPCs").
	contentTypeConnectJSON = "application/connect+json"
)

// linesWriter turns a Connect stream of JSON messages into lines for curl. The
// call runs through connect like any other, with its interceptors, so that
// there is one way in. Batches go to the underlying writer directly; what
// connect itself writes is the end of the stream, and that arrives here.
type linesWriter struct {
	http.ResponseWriter

	begun bool         // the headers are out: lines may follow
	end   bytes.Buffer // the envelope that ends the stream
}

// newLinesWriter returns a writer that answers a Connect stream in lines. The
// caller calls finish after the handler.
func newLinesWriter(w http.ResponseWriter) *linesWriter {
	return &linesWriter{ResponseWriter: w}
}

// asStream returns curl's request as that for a Connect stream.
func asStream(r *http.Request) *http.Request {
	stream := r.Clone(r.Context())
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" {
		stream.Header.Set("Connect-Content-Encoding", encoding) // the stream's name for it
	}
	stream.Header.Set("Content-Type", contentTypeConnectJSON)
	stream.Body = &envelopeBody{src: r.Body}
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
		w.Header().Set("Content-Type", contentTypeLines)
		w.ResponseWriter.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// finish ends the response: an error becomes Connect's JSON with its HTTP
// status or, where lines are out, the last line.
func (w *linesWriter) finish(r *http.Request, errorWriter *connect.ErrorWriter) {
	if w.end.Len() < prefixBytes {
		return
	}
	var end struct {
		Error    json.RawMessage `json:"error"`
		Metadata http.Header     `json:"metadata"`
	}
	var wire struct {
		Code    connect.Code `json:"code"`
		Message string       `json:"message"`
	}
	if err := json.Unmarshal(w.end.Bytes()[prefixBytes:], &end); err != nil || len(end.Error) == 0 {
		return
	}
	if err := json.Unmarshal(end.Error, &wire); err != nil {
		wire.Code, wire.Message = connect.CodeInternal, "internal error: the server's log has the cause"
	}
	if w.begun {
		_, _ = w.ResponseWriter.Write(append(end.Error, '\n'))
		return
	}
	w.dropConnectHeaders()
	for name, values := range end.Metadata {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	_ = errorWriter.Write(w.ResponseWriter, r, connect.NewError(wire.Code, errors.New(wire.Message)))
}

// dropConnectHeaders removes what only readers of envelopes need.
func (w *linesWriter) dropConnectHeaders() {
	w.Header().Del("Connect-Accept-Encoding")
	w.Header().Del("Connect-Content-Encoding")
}
