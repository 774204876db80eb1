package h2

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// announce notes that a field comes after the body, unless that is forbidden (RFC
// 9110, section 6.5.1).
func (r *response) announce(key string) {
	key = http.CanonicalHeaderKey(strings.TrimSpace(key))
	switch {
	case !httpguts.ValidTrailerHeader(key):
		r.s.c.srv.logf("http2: the trailer %q is not sent: it is not allowed there", key)
	case !slices.Contains(r.trailers, key):
		r.trailers = append(r.trailers, key)
	}
}

// appendHeader appends all fields but Content-Length: it must be one number, and
// an interim response has no body.
func (r *response) appendHeader(b []byte) []byte {
	for key, values := range r.header {
		if key != "Content-Length" { // a key with http.TrailerPrefix is no field's name
			b = appendFields(b, key, values)
		}
	}
	return b
}

// complete appends the header fields that are known only when the first bytes of the
// body are sent.
func (r *response) complete(block, held, p []byte, end bool) []byte {
	bodyless := r.status == http.StatusNoContent || r.status == http.StatusNotModified
	size := len(held) + len(p)
	if !r.typed && !bodyless && size > 0 && r.header.Get("Content-Encoding") == "" {
		sniffed := held
		if missing := sniffBytes - len(held); missing > 0 {
			sniffed = append(sniffed, p[:min(missing, len(p))]...)
		}
		block = appendField(block, "content-type", http.DetectContentType(sniffed))
	}
	if r.length < 0 && end && !bodyless && (size > 0 || !r.head) {
		block = appendField(block, "content-length", strconv.Itoa(size))
	}
	return block
}

// appendTrailers appends the fields that come after the body. A value with
// [http.TrailerPrefix] replaces one that was announced.
func (r *response) appendTrailers(b []byte) []byte {
	var prefixed http.Header
	for key, values := range r.header {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			if prefixed == nil {
				prefixed = make(http.Header)
			}
			r.announce(name)
			prefixed[http.CanonicalHeaderKey(name)] = values
		}
	}
	for _, key := range r.trailers {
		values, ok := prefixed[key]
		if !ok {
			values = r.header[key]
		}
		b = appendFields(b, key, values)
	}
	return b
}
