package main

import (
	"crypto/tls"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"example.com/simplechat/cmd/simplechat/internal/flood"
)

// A server that may open no more files says so in its log at the default level. A client
// that is connected loses nothing, and others can connect when there is room again.
func TestTooManyOpenFiles(t *testing.T) {
	t.Parallel()
	const files = 48
	cert, key, roots := certificate(t)
	secure := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	for _, test := range []struct {
		name, scheme string
		config       *tls.Config
		flags        []string
	}{
		{"tcp", "http", nil, nil},
		{"tls", "https", secure, []string{"--tls-cert", cert, "--tls-key", key}},
		{"tcp by net/http", "http", nil, []string{"--std-http2"}},
		{"tls by net/http", "https", secure, []string{"--std-http2", "--tls-cert", cert, "--tls-key", key}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command := []string{"-c", `ulimit -n "$0" && exec "$@"`, strconv.Itoa(files), simplechat(t), "serve", "--listen", "127.0.0.1:0", "--memory"}
			cmd := exec.Command("sh", append(command, test.flags...)...)
			cmd.Dir = t.TempDir()
			p := startProcess(t, cmd, cmd.Start)
			p.awaitListening()
			h := flood.StartHonest(t, test.scheme+"://"+p.addr, test.config)
			h.AwaitMore(10)
			var open []net.Conn
			for range 2 * files {
				nc, err := net.Dial("tcp", p.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				open = append(open, nc)
			}
			p.waitLog(regexp.MustCompile(`level=ERROR msg="http server" text=.*too many open files`))
			h.AwaitMore(10)
			for _, nc := range open {
				_ = nc.Close()
			}
			other := &http.Client{Transport: &http.Transport{TLSClientConfig: test.config}, Timeout: patience}
			for deadline := time.Now().Add(patience); ; <-time.After(pause) {
				res, err := other.Get(test.scheme + "://" + p.addr + "/")
				if err == nil {
					_ = res.Body.Close()
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("nobody can connect any more: %v", err)
				}
			}
			h.Stop()
		})
	}
}
