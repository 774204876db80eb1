package chatsvc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// A body that was refused without being read is not taken for the connection's
// next request: net/http closes such a connection, unless a handler replaced
// the body of net/http's own request.
func TestRefusedBodyIsNotTakenForARequest(t *testing.T) {
	t.Parallel()
	const credentials = "User-Name: user1\r\nUser-Password: qwerty\r\n"
	request := func(headers, body string, length int) string {
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: chat\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n%s",
			chatconnect.SimpleChatSendMessageProcedure, length, headers, body)
	}
	smuggled := request(credentials, "{}", 2)
	tests := []struct {
		name    string
		headers string
		status  int
	}{
		{"too large", credentials, http.StatusTooManyRequests},
		{"unauthenticated", "", http.StatusUnauthorized},
		{"compressed", credentials + "Content-Encoding: gzip\r\n", http.StatusNotImplemented},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := testContext(t)
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transports[0])
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			body := strings.Repeat(smuggled, 1+(2<<20)/len(smuggled))
			go func() { _, _ = io.WriteString(conn, request(test.headers, body, len(body))) }()
			answers := bufio.NewReader(conn)
			res, err := http.ReadResponse(answers, nil)
			if err != nil || res.StatusCode != test.status {
				t.Fatalf("%v, %v", res, err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if res, err := http.ReadResponse(answers, nil); err == nil {
				t.Errorf("a second answer: %s", res.Status)
			}
			f := face{service: svc, server: s, protocol: wireProtocols[0]}
			if sub := subscribe(ctx, t, f.as(t, "user1", "qwerty")); len(sub.pending) > 0 {
				t.Errorf("%d messages from inside a refused body", len(sub.pending))
			}
		})
	}
}
