package chatsvc_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/h2"
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
		{"too large", credentials, http.StatusRequestEntityTooLarge},
		{"unauthenticated", "", http.StatusUnauthorized},
		{"compressed", credentials + "Content-Encoding: gzip\r\n", http.StatusNotImplemented},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
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
			if sub := chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty")); len(sub.Pending) > 0 {
				t.Errorf("%d messages from inside a refused body", len(sub.Pending))
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

// A body that stops arriving ends its HTTP/2 call too, with an error that says so.
func TestStalledBodyEndsOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own=%t", own), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				svc := newService(t)
				protocols := new(http.Protocols)
				protocols.SetUnencryptedHTTP2(true)
				_, handler := svc.Handler()
				srv := &http.Server{Handler: handler, Protocols: protocols}
				listener := newPipeListener()
				if own {
					ours := h2.New(srv)
					go func() { _ = ours.Serve(listener) }()
					defer func() { _ = ours.Close() }()
				} else {
					go func() { _ = srv.Serve(listener) }()
					defer func() { _ = srv.Close() }()
				}
				rt := &http.Transport{Protocols: protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
					return listener.dial(), nil
				}}
				defer rt.CloseIdleConnections()
				body, end := io.Pipe()
				defer func() { _ = end.Close() }()
				go func() { _, _ = end.Write([]byte{0}) }()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://chat"+chatconnect.SimpleChatSendMessageProcedure, body)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{"Content-Type": {"application/proto"}, "User-Name": {"user1"}, "User-Password": {"qwerty"}}
				res, err := rt.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = res.Body.Close() }()
				text, _ := io.ReadAll(res.Body)
				if !strings.Contains(string(text), "deadline_exceeded") || !strings.Contains(string(text), "did not arrive within") {
					t.Errorf("%s: %s", res.Status, text)
				}
			})
		})
	}
}

// A refused compressed request gets no empty encoding.
func TestRefusedCompressionHasNoEncoding(t *testing.T) {
	t.Parallel()
	svc := newService(t)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[1])
	req, err := http.NewRequestWithContext(chattest.Context(t, patience), http.MethodPost, s.url+chatconnect.SimpleChatSendMessageProcedure, strings.NewReader("\x01\x00\x00\x00\x01x"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Content-Type": {"application/grpc"}, "Grpc-Encoding": {"gzip"}, "User-Name": {"user1"}, "User-Password": {"qwerty"}}
	res, err := s.newClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	if res.Trailer.Get("Grpc-Status") != "12" && res.Header.Get("Grpc-Status") != "12" {
		t.Errorf("header %v, trailer %v", res.Header, res.Trailer)
	}
	if values, ok := res.Header["Grpc-Encoding"]; ok {
		t.Errorf("grpc-encoding: %q", values)
	}
}
