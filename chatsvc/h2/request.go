package h2

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
)

// emptyRequest is copied to make a request: only WithContext sets a context.
var emptyRequest http.Request

// readHeaders makes the stream's request from a header block (section 8.3.1). It
// returns a stream error if the block is malformed.
func (s *stream) readHeaders(f *http2.MetaHeadersFrame) error {
	malformed := http2.StreamError{StreamID: s.id, Code: http2.ErrCodeProtocol}
	method, path, authority := f.PseudoValue("method"), f.PseudoValue("path"), f.PseudoValue("authority")
	target, path, ok := readTarget(method, f.PseudoValue("scheme"), authority, path)
	if !ok || f.PseudoValue("protocol") != "" { // extended CONNECT (RFC 8441) is not offered
		return malformed
	}
	header, ok := readFields(f)
	if !ok {
		return malformed
	}
	if length := header["Content-Length"]; len(length) > 0 {
		n, err := strconv.ParseUint(length[0], 10, 63)
		if err != nil || len(length) > 1 || f.StreamEnded() && n != 0 {
			return malformed // section 8.1.1
		}
		s.declared = int64(n)
	}
	ctx, cancel := context.WithCancel(s.c.base)
	s.cancel = cancel
	r := emptyRequest.WithContext(ctx)
	r.Method = method
	r.URL, r.RequestURI = target, path
	r.Header = header
	r.Trailer = announcedTrailers(header)
	r.Host = authority
	if r.Host == "" {
		r.Host = header.Get("Host")
	}
	r.Proto, r.ProtoMajor = "HTTP/2.0", 2
	r.RemoteAddr = s.c.remote
	r.TLS = s.c.tls
	r.ContentLength = s.declared
	r.Body = streamBody{s}
	if f.StreamEnded() {
		r.ContentLength = 0
		r.Body = http.NoBody
	}
	if httpguts.HeaderValuesContainsToken(header["Expect"], "100-continue") {
		s.expects = true
		delete(header, "Expect")
	}
	s.req = r
	s.res.head = method == http.MethodHead
	if f.Truncated {
		s.res.refused = http.StatusRequestHeaderFieldsTooLarge
	}
	return nil
}

// readTarget returns the URL and the request target of the pseudo-header fields,
// and false if they are malformed (sections 8.3.1 and 8.5).
func readTarget(method, scheme, authority, path string) (target *url.URL, uri string, ok bool) {
	switch {
	case method == http.MethodConnect:
		return &url.URL{Host: authority}, authority, authority != "" && scheme == "" && path == ""
	case method == "", scheme != "http" && scheme != "https", strings.Contains(authority, "@"):
		return nil, "", false
	}
	target, err := url.ParseRequestURI(path)
	return target, path, err == nil
}

// announcedTrailers removes the names of the trailers from header and returns them
// without values, or nil if there are none.
func announcedTrailers(header http.Header) http.Header {
	var trailer http.Header
	for _, value := range header["Trailer"] {
		for name := range strings.SplitSeq(value, ",") {
			if trailer == nil {
				trailer = make(http.Header)
			}
			trailer[http.CanonicalHeaderKey(strings.TrimSpace(name))] = nil
		}
	}
	for _, forbidden := range []string{"Transfer-Encoding", "Trailer", "Content-Length"} {
		delete(trailer, forbidden)
	}
	delete(header, "Trailer")
	return trailer
}

// readFields returns the fields of a header block, and false if HTTP/2 does not allow one
// of them (section 8.2.2).
func readFields(f *http2.MetaHeadersFrame) (http.Header, bool) {
	fields := f.RegularFields()
	header := make(http.Header, min(len(fields), 64)) // the client may repeat one name
	values := make([]string, 0, len(fields))
	for _, field := range fields {
		switch field.Name {
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			return nil, false
		case "te":
			if field.Value != "trailers" {
				return nil, false
			}
		}
		key, ok := canonicalNames[field.Name]
		if !ok {
			key = http.CanonicalHeaderKey(field.Name)
		}
		if there := header[key]; there != nil {
			header[key] = append(there, field.Value)
			continue
		}
		values = append(values, field.Value)
		header[key] = values[len(values)-1 : len(values) : len(values)]
	}
	if cookies := header["Cookie"]; len(cookies) > 1 {
		header["Cookie"] = []string{strings.Join(cookies, "; ")} // section 8.2.3
	}
	return header, true
}
