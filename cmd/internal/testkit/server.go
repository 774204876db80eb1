package testkit

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"example.com/simplechat/chatsvc"
)

// Serve serves the chat in this process over HTTP/1.1 and HTTP/2, with TLS or without,
// until the test ends.
func Serve(tb testing.TB, useTLS bool, opts ...chatsvc.Option) (*chatsvc.Service, *httptest.Server) {
	tb.Helper()
	svc, err := chatsvc.New(opts...)
	if err != nil {
		tb.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.Protocols = new(http.Protocols)
	srv.Config.Protocols.SetHTTP1(true)
	srv.Config.Protocols.SetHTTP2(true)
	srv.Config.Protocols.SetUnencryptedHTTP2(true)
	if useTLS {
		srv.EnableHTTP2 = true
		srv.StartTLS()
	} else {
		srv.Start()
	}
	tb.Cleanup(func() {
		svc.Close()
		srv.Close()
	})
	return svc, srv
}
