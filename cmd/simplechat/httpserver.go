package main

import (
	"context"
	"net"
	"net/http"

	"example.com/simplechat/chatsvc/h2"
)

// httpServer serves HTTP/1.1 and HTTP/2 like [http.Server]. It uses TLS if it has a
// configuration for it.
type httpServer interface {
	Serve(l net.Listener) error
	Shutdown(ctx context.Context) error
	Close() error
}

// newHTTPServer returns a server with the settings of srv: that of package h2, or that of
// net/http with --std-http2.
func (c *serveCmd) newHTTPServer(srv *http.Server) httpServer {
	if c.StdHTTP2 {
		return stdServer{srv}
	}
	return ownServer{h2.New(srv), srv.TLSConfig != nil}
}

// stdServer is the server of net/http.
type stdServer struct{ *http.Server }

// Serve implements httpServer.
func (s stdServer) Serve(l net.Listener) error {
	if s.TLSConfig != nil {
		return s.ServeTLS(l, "", "")
	}
	return s.Server.Serve(l)
}

// ownServer is the server of package h2.
type ownServer struct {
	*h2.Server

	tls bool
}

// Serve implements httpServer.
func (s ownServer) Serve(l net.Listener) error {
	if s.tls {
		return s.ServeTLS(l)
	}
	return s.Server.Serve(l)
}
