package h2_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc/h2"
)

// Handlers see TLS over both versions of HTTP.
func TestTLSState(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto+" over "+tls.VersionName(r.TLS.Version))
	})})
	for want, http2 := range map[string]bool{"HTTP/1.1 over TLS 1.3": false, "HTTP/2.0 over TLS 1.3": true} {
		res, err := s.client(t, http2).Get(s.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(got) != want {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
}

// A handshake may choose each protocol that was given, as that of an ACME challenge.
func TestFurtherProtocols(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := tlsConfigs(t)
	serverTLS.NextProtos = []string{"acme-tls/1", "http/1.1"}
	srv := &http.Server{Handler: http.HandlerFunc(describe), TLSConfig: serverTLS}
	logTo(srv)
	l, own := listen(t), h2.New(srv)
	run(t, own.Close, func() error { return own.ServeTLS(l) })
	for _, want := range []string{"acme-tls/1", "http/1.1", "h2"} {
		config := clientTLS.Clone()
		config.NextProtos = []string{want}
		conn, err := tls.Dial("tcp", l.Addr().String(), config)
		if err != nil {
			t.Errorf("%s: %v", want, err)
			continue
		}
		if got := conn.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%s: the server chose %q", want, got)
		}
		_ = conn.Close()
	}
}

// A client that does not speak TLS is told so, and any failure is logged.
func TestFailedHandshake(t *testing.T) {
	t.Parallel()
	s := serveTLS(t, &http.Server{Handler: http.HandlerFunc(describe)})
	for first, want := range map[string]string{"GET / HTTP/1.1\r\n\r\n": "HTTP/1.0 400 ", "nonsense\r\n\r\n": ""} {
		nc, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(nc, first)
		if got, _ := io.ReadAll(nc); !strings.HasPrefix(string(got), want) {
			t.Errorf("%q is answered %q", first, got)
		}
		_ = nc.Close()
		if n := strings.Count(s.log.String(), "TLS handshake error from "+nc.LocalAddr().String()); n != 1 {
			t.Errorf("%q: %d lines in the log:\n%s", first, n, s.log)
		}
	}
}

// A handshake that does not end in time ends the connection, and so does a panic in it.
func TestHandshakeWithoutEnd(t *testing.T) {
	t.Parallel()
	serverTLS, _ := tlsConfigs(t)
	serverTLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("oops") }
	synctest.Test(t, func(t *testing.T) {
		srv := &http.Server{Handler: http.HandlerFunc(describe), TLSConfig: serverTLS, ReadHeaderTimeout: 5 * time.Second}
		b := &bubble{tb: t, log: logTo(srv), h2: h2.New(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
		b.wg.Go(func() { _ = b.h2.ServeTLS(b.pipe) })
		defer b.wg.Wait()
		defer b.h2.Close()
		silent := b.connect()
		if _, err := silent.nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("a silent client: %v", err)
		}
		panics := b.connect()
		if err := tls.Client(panics.nc, &tls.Config{ServerName: "example.com"}).Handshake(); err == nil {
			t.Error("the handshake succeeded")
		}
		synctest.Wait()
		if log := b.log.String(); !strings.Contains(log, "panic serving pipe: oops") || !strings.Contains(log, "timeout") {
			t.Errorf("the log: %s", log)
		}
	})
}
