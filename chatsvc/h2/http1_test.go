package h2_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc/h2"
)

// dialHTTP1 opens a connection for HTTP/1.1.
func (s *server) dialHTTP1(tb testing.TB) net.Conn {
	tb.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	if s.tls != nil {
		nc = tls.Client(nc, clientConfig(s.tls, "http/1.1"))
	}
	return nc
}

// Empty lines before the first request are ignored, as many as a client may
// send, however they arrive.
func TestEmptyLineBeforeRequest(t *testing.T) {
	t.Parallel()
	const request = "GET / HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n"
	plain := serve(t, &http.Server{Handler: http.HandlerFunc(describe)})
	secure := serveTLS(t, &http.Server{Handler: http.HandlerFunc(describe)})
	for before, want := range map[string]string{
		"":                     "HTTP/1.1 200 ",
		"\r\n":                 "HTTP/1.1 200 ",
		"\n":                   "HTTP/1.1 200 ",
		"\r\n\r\n":             "HTTP/1.1 200 ",
		"\r\n\r\n\r\n\r\n\r\n": "HTTP/1.1 400 ",
		" \r\n":                "HTTP/1.1 400 ",
	} {
		for _, s := range []*server{plain, secure} {
			for _, size := range []int{1, 3, 1000} {
				nc := s.dialHTTP1(t)
				for all := before + request; all != ""; {
					n := min(size, len(all))
					if _, err := io.WriteString(nc, all[:n]); err != nil {
						break // the server has refused the request already
					}
					all = all[n:]
				}
				status, err := bufio.NewReader(nc).ReadString('\n')
				if !strings.HasPrefix(status, want) {
					t.Errorf("%s: %q in pieces of %d: %q, %v", s.url, before, size, status, err)
				}
			}
		}
	}
}

// A client whose request is refused before its end can send all the rest, and
// gets the answer.
func TestRefusalOfLargeRequest(t *testing.T) {
	t.Parallel()
	serverTLS, clientTLS := tlsConfigs(t)
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
	}
	for name, test := range map[string]struct {
		secure bool
		header string
		body   string
	}{
		"tcp":          {false, "Content-Length: 3145728\r\n", strings.Repeat("x", 3<<20)},
		"tls":          {true, "Content-Length: 3145728\r\n", strings.Repeat("x", 3<<20)},
		"tcp, chunked": {false, "Transfer-Encoding: chunked\r\n", "300000\r\n" + strings.Repeat("x", 3<<20) + "\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := &http.Server{Handler: http.HandlerFunc(handler), TLSConfig: serverTLS}
				b := &bubble{tb: t, log: logTo(srv), h2: h2.New(srv), pipe: &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}}
				serve := b.h2.Serve
				if test.secure {
					serve = b.h2.ServeTLS
				}
				b.wg.Go(func() { _ = serve(b.pipe) })
				defer b.wg.Wait()
				defer b.h2.Close()
				nc, server := net.Pipe()
				b.pipe.conns <- server
				if test.secure {
					nc = tls.Client(nc, clientConfig(clientTLS, "http/1.1"))
				}
				defer nc.Close()
				b.wg.Go(func() {
					if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: example\r\n"+test.header+"\r\n"+test.body); err != nil {
						t.Errorf("the rest is not read: %v", err)
					}
				})
				if all, err := io.ReadAll(nc); !strings.HasPrefix(string(all), "HTTP/1.1 403 ") {
					t.Errorf("%q, %v", all, err)
				}
			})
		})
	}
}

// A client that asks before it sends, or sends without an end, does not hold up
// its refusal.
func TestRefusalWithoutTheRest(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusForbidden)
	}
	s := serve(t, &http.Server{Handler: http.HandlerFunc(handler)})
	for name, request := range map[string]string{
		"expect":  "Content-Length: 100\r\nExpect: 100-continue\r\n\r\n",
		"endless": "Transfer-Encoding: chunked\r\n\r\n",
	} {
		nc := s.dialHTTP1(t)
		if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: example\r\n"+request); err != nil {
			t.Fatal(err)
		}
		if name == "endless" {
			go func() {
				chunk := "10000\r\n" + strings.Repeat("x", 1<<16) + "\r\n"
				for _, err := io.WriteString(nc, chunk); err == nil; _, err = io.WriteString(nc, chunk) {
				}
			}()
		}
		if status, err := bufio.NewReader(nc).ReadString('\n'); !strings.HasPrefix(status, "HTTP/1.1 403 ") {
			t.Errorf("%s: %q, %v", name, status, err)
		}
	}
}
