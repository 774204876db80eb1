package testkit

import (
	"net/http"
	"strings"
	"testing"
)

// NewTransport returns a transport of its own for either HTTP/1.1 or HTTP/2
// with prior knowledge.
func NewTransport(tb testing.TB, http2 bool) *http.Transport {
	tb.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	rt := &http.Transport{Protocols: protocols}
	tb.Cleanup(rt.CloseIdleConnections)
	return rt
}

// As is a transport that adds a user's credentials, the demo users' password
// unless there is a colon and another.
type As struct {
	User string
	Base http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (a As) RoundTrip(r *http.Request) (*http.Response, error) {
	name, password, ok := strings.Cut(a.User, ":")
	if !ok {
		password = "qwerty"
	}
	r = r.Clone(r.Context())
	r.SetBasicAuth(name, password)
	return a.Base.RoundTrip(r)
}
