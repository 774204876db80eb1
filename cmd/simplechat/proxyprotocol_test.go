package main

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	proxyproto "github.com/pires/go-proxyproto"
)

// dialProxied opens a connection on which a proxy tells the client's address in a version
// of its protocol, 0 for none.
func dialProxied(tb testing.TB, addr, client string, version byte, config *tls.Config) net.Conn {
	tb.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	if version > 0 {
		from := &net.TCPAddr{IP: net.ParseIP(client), Port: 1234}
		if _, err := proxyproto.HeaderProxyFromAddrs(version, from, nc.RemoteAddr()).WriteTo(nc); err != nil {
			tb.Fatal(err)
		}
	}
	if config != nil {
		nc = tls.Client(nc, config)
	}
	return nc
}

const (
	pageRequest  = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
	wrongRequest = "POST " + sendPath + " HTTP/1.1\r\nHost: localhost\r\nUser-Name: user2\r\nUser-Password: wrong\r\n" +
		"Content-Type: application/json\r\nContent-Length: 0\r\n\r\n"
)

// exchange sends a request, and returns the answer's status. The connection stays open.
func exchange(nc net.Conn, request string) (int, error) {
	if _, err := io.WriteString(nc, request); err != nil {
		return 0, err
	}
	res, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// The limits and the log see the address that a trusted proxy tells by the PROXY
// protocol, before TLS.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	secure := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	tlsFlags := []string{"--tls-cert", cert, "--tls-key", key}
	for _, test := range []struct {
		name    string
		version byte
		config  *tls.Config
		flags   []string
	}{
		{"version 1 over TCP", 1, nil, nil},
		{"version 2 over TCP", 2, nil, nil},
		{"version 1 over TLS", 1, secure, tlsFlags},
		{"version 2 over TLS", 2, secure, tlsFlags},
		{"version 2 by net/http", 2, secure, append([]string{"--std-http2"}, tlsFlags...)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			const client, limit = "203.0.113.7", 3
			p := startServer(t, append([]string{"--memory", "--proxy-protocol", "--trusted-proxy", "127.0.0.1/32", "--address-connections", strconv.Itoa(limit)}, test.flags...)...)
			dial := func() net.Conn { return dialProxied(t, p.addr, client, test.version, test.config) }
			var last net.Conn
			for range limit {
				last = dial()
				if status, err := exchange(last, pageRequest); status != http.StatusOK {
					t.Fatalf("%d, %v", status, err)
				}
			}
			if status, err := exchange(last, wrongRequest); status != http.StatusUnauthorized {
				t.Fatalf("%d, %v", status, err)
			}
			p.waitLog(regexp.MustCompile(`limit="failed logins" address=` + regexp.QuoteMeta(client)))
			if status, err := exchange(dial(), pageRequest); err == nil {
				t.Errorf("a connection beyond the limit: %d", status)
			}
			_ = last.Close()
			for deadline := time.Now().Add(patience); ; <-time.After(pause) { // the server learns of it
				if status, _ := exchange(dial(), pageRequest); status == http.StatusOK {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("a connection that has ended still counts")
				}
			}
			if status, err := exchange(dialProxied(t, p.addr, "", 0, test.config), pageRequest); err == nil {
				t.Errorf("a connection without the header: %d", status)
			}
			p.waitLog(regexp.MustCompile(`limit="PROXY headers" address=127\.0\.0\.1`))
		})
	}
}

// Nobody but a trusted proxy is believed.
func TestProxyProtocolOfStranger(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory", "--proxy-protocol", "--trusted-proxy", "192.0.2.0/24")
	if status, err := exchange(dialProxied(t, p.addr, "203.0.113.1", 1, nil), pageRequest); status != http.StatusBadRequest {
		t.Errorf("with a header: %d, %v", status, err)
	}
	if status, err := exchange(dialProxied(t, p.addr, "", 0, nil), pageRequest); status != http.StatusOK {
		t.Errorf("without one: %d, %v", status, err)
	}
	if r := runHere(t, "serve", "--proxy-protocol"); r.code == 0 || !strings.Contains(r.stderr, "--trusted-proxy") {
		t.Errorf("without a trusted proxy: %+v", r)
	}
}
