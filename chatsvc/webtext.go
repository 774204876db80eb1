package chatsvc

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
)

// webTextBody decodes the body of a gRPC-Web call in text mode: base64 in one or more
// parts, each with its own padding (gRPC-Web protocol, "application/grpc-web-text").
type webTextBody struct {
	src     io.ReadCloser
	buf     [4 << 10]byte
	encoded int    // bytes of buf that were read and not decoded
	decoded []byte // part of buf that was decoded and not returned
	err     error  // error of src, returned after all decoded bytes
}

// quantum is the number of characters for three bytes in base64.
const quantum = 4

// Read implements [io.Reader].
func (b *webTextBody) Read(p []byte) (int, error) {
	for len(b.decoded) == 0 {
		if b.err != nil {
			return 0, b.err
		}
		b.fill()
	}
	n := copy(p, b.decoded)
	b.decoded = b.decoded[n:]
	return n, nil
}

// fill reads and decodes the next bytes.
func (b *webTextBody) fill() {
	// The decoded bytes are in the front half; all of them were returned.
	space := b.buf[len(b.buf)/2:]
	n, err := b.src.Read(space[b.encoded:])
	b.encoded += withoutBreaks(space[b.encoded:][:n])
	from := space[:b.encoded]
	whole := len(from) / quantum * quantum
	decoded, bad := decodeParts(b.buf[:len(b.buf)/2], from[:whole])
	b.decoded = b.buf[:decoded]
	b.encoded = copy(space, from[whole:])
	switch {
	case bad != nil, errors.Is(err, io.EOF) && b.encoded > 0:
		b.err = invalid("the body is not base64 in padded parts: send base64 as application/grpc-web-text requires, or application/grpc-web+proto without base64")
	case err != nil:
		b.err = err
	}
}

// withoutBreaks removes line breaks from text in place, and returns the length of the rest.
// Programs such as base64(1) add them; a quantum may begin anywhere among them.
func withoutBreaks(text []byte) int {
	n := 0
	for _, c := range text {
		if c != '\r' && c != '\n' {
			text[n] = c
			n++
		}
	}
	return n
}

// decodeParts decodes whole quanta; each may have padding.
func decodeParts(to, from []byte) (int, error) {
	n := 0
	for len(from) > 0 {
		end := quantum
		for end < len(from) && from[end-1] != '=' {
			end += quantum
		}
		m, err := base64.StdEncoding.Decode(to[n:], from[:end])
		if err != nil {
			return n, err
		}
		n += m
		from = from[end:]
	}
	return n, nil
}

// Close implements [io.Closer].
func (b *webTextBody) Close() error { return b.src.Close() }

// webTextBlock is how many bytes are encoded at a time, a multiple of three.
const webTextBlock = 3 << 10

// webTextWriter encodes a gRPC-Web response in base64. The bytes until a flush are one part
// with its own padding, so that the reader can decode them at once.
type webTextWriter struct {
	http.ResponseWriter

	control     *http.ResponseController
	contentType string // the content type of the call
	begun       bool
	held        []byte // not encoded yet: fewer than webTextBlock bytes
	encoded     []byte
}

func newWebTextWriter(w http.ResponseWriter, contentType string) *webTextWriter {
	return &webTextWriter{ResponseWriter: w, control: http.NewResponseController(w), contentType: contentType}
}

// Unwrap lets [http.ResponseController] reach the deadlines.
func (w *webTextWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements [http.ResponseWriter].
func (w *webTextWriter) WriteHeader(status int) {
	w.begin()
	w.ResponseWriter.WriteHeader(status)
}

// begin sets the content type.
func (w *webTextWriter) begin() {
	if !w.begun {
		w.begun = true
		w.Header().Set("Content-Type", w.contentType)
	}
}

// Write implements [http.ResponseWriter].
func (w *webTextWriter) Write(p []byte) (int, error) {
	w.begin()
	for rest := p; len(rest) > 0; {
		if w.held == nil {
			w.held = make([]byte, 0, webTextBlock)
		}
		n := min(len(rest), webTextBlock-len(w.held))
		w.held = append(w.held, rest[:n]...)
		rest = rest[n:]
		if len(w.held) < webTextBlock {
			continue
		}
		if err := w.encode(); err != nil {
			return len(p) - len(rest), err
		}
	}
	return len(p), nil
}

// encode writes the held bytes. Fewer bytes than a block end a part.
func (w *webTextWriter) encode() error {
	if len(w.held) == 0 {
		return nil
	}
	w.encoded = base64.StdEncoding.AppendEncode(w.encoded[:0], w.held)
	w.held = w.held[:0]
	_, err := w.ResponseWriter.Write(w.encoded) //nolint:gosec // it is base64, in a response to gRPC-Web
	return err
}

// FlushError is called by [http.ResponseController].
func (w *webTextWriter) FlushError() error {
	w.begin()
	if err := w.encode(); err != nil {
		return err
	}
	return w.control.Flush()
}

// Flush implements [http.Flusher], which connect's streams need.
func (w *webTextWriter) Flush() { _ = w.FlushError() }

// finish ends the last part.
func (w *webTextWriter) finish() {
	w.begin()
	_ = w.encode()
}
