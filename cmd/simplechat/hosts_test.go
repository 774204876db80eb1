package main

import (
	"net/http"
	"testing"

	"example.com/simplechat/cmd/internal/testkit"
)

// A server whose passwords everybody knows answers only under names of this machine: a
// page of another site could make a name of its own point here.
func TestHostsOfDemoServer(t *testing.T) {
	t.Parallel()
	demo := startServer(t, "--allow-host", "chat.example")
	known := startServer(t, "--users", testkit.UsersFile(t, "user1:qwerty"))
	for _, test := range []struct {
		name   string
		server *process
		host   string
		want   int
	}{
		{"address", demo, "", http.StatusOK},
		{"localhost", demo, "localhost:65002", http.StatusOK},
		{"allowed", demo, "chat.example:65002", http.StatusOK},
		{"stranger", demo, "evil.example:65002", http.StatusForbidden},
		{"own users", known, "evil.example:65002", http.StatusOK},
	} {
		for _, path := range []string{sendPath, "/", healthCheck} {
			method, body := http.MethodPost, "{}"
			if path == "/" {
				method, body = http.MethodGet, ""
			}
			req := test.server.request(method, path, body)
			if test.host != "" {
				req.Host = test.host
			}
			if res, text := do(t, testkit.As{User: "user1", Base: testkit.NewTransport(t, false)}, req); res.StatusCode != test.want {
				t.Errorf("%s, %s: %s, %s", test.name, path, res.Status, text)
			}
		}
	}
}
