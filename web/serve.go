package web

import (
	"net/http"
	"strconv"
	"strings"
)

// securityHeaders are sent with every response. The policy lets the page run only its own
// script, so that text from a message could do nothing even if it became part of the
// document. Images come from messages, as blobs. The script handles the login form;
// form-action prevents a password in a URL if the script has not loaded.
var securityHeaders = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; " +
		"img-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Permissions-Policy":           "camera=(), geolocation=(), microphone=()",
	"Referrer-Policy":              "no-referrer",
	"X-Content-Type-Options":       "nosniff",
}

// ServeHTTP implements [http.Handler].
func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, value := range securityHeaders {
		h.Set(name, value)
	}
	f, ok := p[r.URL.Path]
	if !ok {
		http.Error(w, "not found: the chat is at /", http.StatusNotFound)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "use GET: the page cannot be changed", http.StatusMethodNotAllowed)
		return
	}
	f.serve(w, r)
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	e := f.negotiate(strings.Join(r.Header.Values("Accept-Encoding"), ","))
	h := w.Header()
	h.Set("ETag", e.etag)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache") // the browser asks each time, and gets 304
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	if matches(r.Header.Values("If-None-Match"), e.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", f.contentType)
	h.Set("Content-Length", strconv.Itoa(len(e.content)))
	if e.name != "" {
		h.Set("Content-Encoding", e.name)
	}
	if r.Method == http.MethodGet {
		_, _ = w.Write(e.content) // a client that has gone needs no error
	}
}

// negotiate returns the smallest encoding that the client accepts (RFC 9110,
// section 12.5.3), or the plain file if it accepts none.
func (f *file) negotiate(accept string) encoding {
	weights := map[string]float64{}
	for part := range strings.SplitSeq(accept, ",") {
		name, parameter, _ := strings.Cut(part, ";")
		weight := 1.0
		if q, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(parameter)), "q="); ok {
			weight, _ = strconv.ParseFloat(strings.TrimSpace(q), 64) // a weight that is not a number is zero
		}
		weights[strings.ToLower(strings.TrimSpace(name))] = weight
	}
	var plain encoding
	for _, e := range f.encodings {
		if e.name == "" {
			plain = e
			continue
		}
		weight, listed := weights[e.name]
		if !listed {
			weight = weights["*"]
		}
		if weight > 0 {
			return e
		}
	}
	return plain
}

// matches reports whether If-None-Match names the tag (RFC 9110, section
// 13.1.2). The comparison is weak, because proxies that compress make tags weak.
func matches(values []string, etag string) bool {
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		part = strings.TrimPrefix(strings.TrimSpace(part), "W/")
		if part == "*" || part == etag {
			return true
		}
	}
	return false
}
