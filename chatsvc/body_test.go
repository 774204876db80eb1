package chatsvc_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

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

// A body that stops arriving ends its HTTP/1.1 call in the end; a stream lives
// on, long after its request's body.
func TestStalledBodyEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t)
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		srv := &http.Server{Handler: mux}
		listener := newPipeListener()
		go func() { _ = srv.Serve(listener) }()
		defer func() { _ = srv.Close() }()
		request := "POST %s HTTP/1.1\r\nHost: chat\r\nContent-Type: application/json\r\nUser-Name: user1\r\nUser-Password: qwerty\r\nContent-Length: %d\r\n\r\n{}"

		stream := listener.dial()
		defer func() { _ = stream.Close() }()
		_, _ = fmt.Fprintf(stream, request, chatconnect.SimpleChatMessageListProcedure, 2)
		lines, err := http.ReadResponse(bufio.NewReader(stream), nil)
		if err != nil {
			t.Fatal(err)
		}
		heard := make(chan struct{})
		go func() {
			defer close(heard)
			line := bufio.NewReader(lines.Body)
			for range 10 { // 250 s of heartbeats
				if got, err := line.ReadString('\n'); got != "{}\n" || err != nil {
					t.Errorf("line %q, %v", got, err)
					return
				}
			}
		}()

		start := time.Now()
		stalled := listener.dial()
		defer func() { _ = stalled.Close() }()
		_, _ = fmt.Fprintf(stalled, request, chatconnect.SimpleChatSendMessageProcedure, 3)
		res, err := http.ReadResponse(bufio.NewReader(stalled), nil)
		if err != nil || res.StatusCode == http.StatusOK {
			t.Errorf("%v, %v", res, err)
		}
		if waited := time.Since(start); waited > time.Minute {
			t.Errorf("it ended after %v", waited)
		}
		<-heard
	})
}
