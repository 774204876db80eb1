package main

import (
	"net/http"
	"strings"
	"testing"

	"example.com/simplechat/cmd/internal/testkit"
)

func TestPage(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory", "--max-content", "123KiB")
	for name, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		transport := testkit.NewTransport(t, http2)
		res, body := do(t, transport, p.request(http.MethodGet, "/", ""))
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Security-Policy") == "" {
			t.Errorf("%s: status %d, %v", name, res.StatusCode, res.Header)
		}
		if !strings.Contains(body, `name="max-content" content="125952"`) {
			t.Errorf("%s: the page does not know --max-content: %s", name, body)
		}
		// A path that is neither the page nor a service is not found, also for gRPC.
		res, _ = do(t, transport, p.request(http.MethodPost, "/some.other.Service/Method", "{}"))
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: another service: status %d", name, res.StatusCode)
		}
	}
}

func TestNoPage(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory", "--no-page")
	if res, body := do(t, testkit.NewTransport(t, false), p.request(http.MethodGet, "/", "")); res.StatusCode != http.StatusNotFound {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}
	if got := health(t, p); got != serving {
		t.Errorf("the rest of the server: %q", got)
	}
}
