package referenceserver

import (
	"net"
	"net/http"

	"example.com/simplechat/chatsvc/h2"
)

// ownServer serves the suite's handlers by this project's HTTP server. The
// script beside this file puts it into the suite's package.
type ownServer struct {
	*h2.Server

	lis net.Listener
	tls bool
}

func newOwnServer(srv *http.Server, lis net.Listener) ownServer {
	return ownServer{h2.New(srv), lis, srv.TLSConfig != nil}
}

// Serve implements the suite's httpServer.
func (s ownServer) Serve() error {
	if s.tls {
		return s.ServeTLS(s.lis)
	}
	return s.Server.Serve(s.lis)
}

// Addr implements the suite's httpServer.
func (s ownServer) Addr() string { return s.lis.Addr().String() }
