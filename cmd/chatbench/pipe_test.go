package main

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// The rate counts only stored messages.
func TestPipe(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.HTTP1)
	line := regexp.MustCompile(`^(\d+) messages of 100 bytes in .* over 2 connections: (\d+)/s\n$`)
	again(t, func() bool {
		code, stdout, stderr := chatbench(t, "pipe", "--addr", addr, "--connections", "2", "--window", "100", "--warmup", "50ms", "--duration", "200ms")
		match := line.FindStringSubmatch(stdout)
		if code != 0 || match == nil {
			t.Fatalf("code %d: %q, %q", code, stdout, stderr)
		}
		return match[1] != "0"
	})
}

// Wrong answers of the server are errors.
func TestPipeChecksAnswers(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]string{
		"{\"offset\":\"2\"}\n{\"offset\":\"2\"}\n": "came after 2",
		"{\"code\":\"unavailable\"}\n":             "unavailable",
		"{\"offset\":\"x\"}\n":                     `"x"`,
		"":                                         "the server ended the request",
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(answer)) }))
		defer srv.Close()
		code, _, stderr := chatbench(t, "pipe", "--addr", strings.TrimPrefix(srv.URL, "http://"), "--connections", "1", "--warmup", "1m")
		if code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%q: code %d, %q", answer, code, stderr)
		}
	}
	if code, _, stderr := chatbench(t, "pipe", "--window", "1"); code == 0 || !strings.Contains(stderr, "--window") {
		t.Errorf("code %d, %q", code, stderr)
	}
}
