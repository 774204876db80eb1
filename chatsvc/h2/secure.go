package h2

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"
)

// notTLS is the response to a client that speaks plain HTTP to a TLS port, as in
// net/http.
const notTLS = "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"

// serveSecure serves nc with the TLS settings of l if its client chooses HTTP/2 in the
// handshake, and passes it on to l otherwise.
func (s *Server) serveSecure(base context.Context, nc net.Conn, l *splitListener) {
	secure := tls.Server(nc, l.tls)
	_ = nc.SetDeadline(time.Now().Add(s.beginTime))
	err := secure.HandshakeContext(base)
	if !s.track(nc, false) || err != nil {
		if err != nil {
			s.refuseHandshake(nc, err)
		}
		_ = nc.Close()
		return
	}
	_ = nc.SetDeadline(time.Time{})
	state := secure.ConnectionState()
	if state.NegotiatedProtocol == "h2" {
		s.serveConn(s.connContext(base, secure), secure, &state)
		return
	}
	l.hand(secureConn{&begunConn{Conn: secure, blank: maxBlank}, secure})
}

// refuseHandshake logs why a handshake failed, and answers a client that does not
// speak TLS.
func (s *Server) refuseHandshake(nc net.Conn, err error) {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && isHTTP1(record.RecordHeader) {
		_, _ = io.WriteString(record.Conn, notTLS)
		err = errors.New("client sent an HTTP request to an HTTPS server")
	}
	s.logf("http: TLS handshake error from %s: %v", nc.RemoteAddr(), err)
}

// isHTTP1 reports whether a connection that begins with first speaks HTTP/1.1.
func isHTTP1(first [5]byte) bool {
	switch string(first[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

// secureConn is a connection over TLS that does not speak HTTP/2. net/http finds its TLS
// state by the method ConnectionState.
type secureConn struct {
	*begunConn

	tls *tls.Conn
}

// ConnectionState returns the result of the handshake.
func (c secureConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }
