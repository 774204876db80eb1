package chatsvc_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// get opens a stream by GET with further headers.
func get(ctx context.Context, tb testing.TB, s *server, query string, pairs ...string) (*http.Response, *bufio.Reader) {
	tb.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+chatconnect.SimpleChatMessageListProcedure+query, nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = header(pairs...)
	res, err := s.newClient(tb).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = res.Body.Close() })
	return res, bufio.NewReader(res.Body)
}

// readAll returns a whole stream, its status and how it ended.
func readAll(tb testing.TB, s *server, query string, pairs ...string) (status int, body string, err error) {
	tb.Helper()
	res, from := get(chattest.Context(tb, patience), tb, s, query, pairs...)
	data, err := io.ReadAll(from)
	return res.StatusCode, string(data), err
}

// threeMessages returns a service with a conversation of three messages.
func threeMessages(ctx context.Context, tb testing.TB, opts ...chatsvc.Option) (*chatsvc.Service, string) {
	tb.Helper()
	svc := newService(tb, opts...)
	epoch := ""
	for _, msg := range []*chatpb.ChatMessage{
		{Timestamp: 1_790_000_000_000, Content: []byte("one\ntwo\x1b[31m \u202e ü 👩\u200d🚀 \u0085"), Type: chatpb.ChatMessage_Text},
		{Timestamp: 1_790_000_000_999, Content: make([]byte, 12<<10), Type: chatpb.ChatMessage_Image},
		{Timestamp: 1<<64 - 1, Content: []byte("\xff"), Type: chatpb.ChatMessage_Unknown},
	} {
		stored, err := svc.Publish(ctx, chatsvc.User{Name: "bot\x07"}, msg)
		if err != nil {
			tb.Fatal(err)
		}
		epoch = stored.Epoch
	}
	return svc, epoch
}

// The query means the same as the headers, and contradictions are refused.
func TestGet(t *testing.T) {
	t.Parallel()
	const image, unknown = `"type":"Image","from":"bot\u0007"}`, `{"messages":[{"timestamp":"18446744073709551615","content":"/w==","from":"bot\u0007"}]}` + "\n"
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			svc, epoch := threeMessages(chattest.Context(t, patience), t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			for _, test := range []struct {
				query  string
				header []string
				status int
				part   string
			}{
				{"?offset=-1&until=end", nil, 200, unknown},
				{"?offset=3&until=4&epoch=" + epoch, []string{"Chat-Offset", "3", "Chat-Epoch", epoch}, 200, unknown},
				{"?until=3", []string{"Chat-Offset", "2"}, 200, image + "]}\n"},
				{"?offset=end&until=end", nil, 200, "{}\n"},
				{"", []string{"Chat-Until", "end", "Accept", "text/html,*/*;q=0.8"}, 200, unknown[13:]},
				{"?offset=1&until=end", []string{"Chat-Offset", "2"}, 400, "Chat-Offset and the URL"},
				{"?until=end", []string{"Chat-Until", "3"}, 400, "Chat-Until and the URL"},
				{"?offset=x", nil, 400, "Chat-Offset must be"},
				{"?offset=+1", nil, 400, "Chat-Offset must be"},
				{"?offset=1&offset=2", nil, 400, "2 times"},
				{"?offset=", nil, 400, "is empty"},
				{"?user=user1&password=s3cr3t", nil, 400, "the parameters are offset, epoch and until"},
				{"?offset=%zz", nil, 400, "malformed"},
				{"?until=end", []string{"User-Password", "x"}, 401, "unauthenticated"},
			} {
				status, body, err := readAll(t, s, test.query, test.header...)
				if status != test.status || !strings.Contains(body, test.part) || err != nil || strings.Contains(body, "s3cr3t") {
					t.Errorf("%s, %v: %d, %.300q, %v", test.query, test.header, status, body, err)
				}
			}
		})
	}
}

// A person reads a line for each message, and nothing in it controls the terminal.
func TestReadableLines(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc, _ := threeMessages(ctx, t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			const want = "2026-09-21T14:13:20Z bot\\a: one\\ntwo\\x1b[31m \\u202e ü 👩\u200d🚀 \\u0085\n" +
				"2026-09-21T14:13:20Z bot\\a: [image, 12 KiB]\n" +
				"18446744073709551615 bot\\a: [unknown, 1 B]\n"
			if _, body, err := readAll(t, s, "?until=end", "Accept", "text/plain"); body != want || err != nil {
				t.Errorf("%q, %v\n%q was due", body, err, want)
			}
			res, lines := get(ctx, t, s, "?offset=end", "Accept", "text/plain;q=0.9, application/json;q=0.1")
			if got := res.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%v", res.Header)
			}
			svc.Close()
			rest, err := io.ReadAll(lines)
			if string(rest) != "error unavailable: the server is shutting down: call again\n" || err == nil {
				t.Errorf("the end: %q, %v", rest, err)
			}
		})
	}
}

// nextEvent returns the lines of the next event.
func nextEvent(tb testing.TB, from *bufio.Reader) string {
	tb.Helper()
	event := ""
	for !strings.HasSuffix(event, "\n\n") {
		line, err := from.ReadString('\n')
		if event += line; err != nil {
			tb.Fatalf("after %q: %v", event, err)
		}
	}
	return strings.TrimSuffix(event, "\n\n")
}

// An EventSource gets each message once, across connections, and stops when it has
// all messages that it asked for.
func TestEvents(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc, epoch := threeMessages(ctx, t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			accept := []string{"Accept", "text/event-stream"}
			again := func(id string) []string { return append([]string{"Last-Event-Id", id}, accept...) }
			res, events := get(ctx, t, s, "?offset=-1", accept...)
			if res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%v", res.Header)
			}
			if got, want := nextEvent(t, events), "id: 4@"+epoch+"\n"+`data: {"timestamp":"18446744073709551615","content":"/w==","from":"bot\u0007"}`; got != want {
				t.Errorf("%q, %q was due", got, want)
			}
			if _, err := svc.Publish(ctx, chatsvc.User{Name: "ada"}, text("four")); err != nil {
				t.Fatal(err)
			}
			if got := nextEvent(t, events); !strings.HasPrefix(got, "id: 5@"+epoch+"\ndata: {") || !strings.Contains(got, "Zm91cg==") {
				t.Errorf("%q", got)
			}
			_, events = get(ctx, t, s, "?offset=end", accept...)
			if got := nextEvent(t, events); got != "id: 5@"+epoch+"\n: nothing new" {
				t.Errorf("the first of none: %q", got)
			}
			_, events = get(ctx, t, s, "?offset=-1", again("3@"+epoch)...)
			if got := nextEvent(t, events); !strings.HasPrefix(got, "id: 4@") {
				t.Errorf("connected again: %q", got)
			}
			last := "5@" + epoch + " end"
			if _, body, err := readAll(t, s, "?offset=4&until=end", accept...); err != nil || !strings.HasSuffix(body, "event: end\nid: "+last+"\ndata: {}\n\n") {
				t.Errorf("%q, %v", body, err)
			}
			if status, body, _ := readAll(t, s, "?offset=3&until=5&epoch="+epoch, again("4@"+epoch)...); status != 200 || strings.Count(body, "data: {\"t") != 1 {
				t.Errorf("cut before its end: %d, %q", status, body)
			}
			send(ctx, t, face{service: svc, server: s, protocol: wireProtocols[0]}.as(t, "user1", "qwerty"), text("five"))
			for _, test := range [][2]string{{"?offset=3&until=5", "5@" + epoch}, {"?until=end", last}, {"?until=end", "6@" + epoch}, {"?until=3", "2@another"}, {"?until=3&epoch=" + epoch, "2@another"}} {
				if status, body, err := readAll(t, s, test[0], again(test[1])...); status != http.StatusNoContent || body != "" || err != nil {
					t.Errorf("%v: %d, %q, %v", test, status, body, err)
				}
			}
			done, _ := get(ctx, t, s, "?until=end", again(last)...)
			for _, name := range []string{"Content-Type", "Connect-Accept-Encoding"} {
				if value := done.Header.Get(name); value != "" {
					t.Errorf("an answer without a body has %s: %s", name, value)
				}
			}
			for _, id := range []string{"x", "5", "5@", "-1@" + epoch, "5@a b"} {
				if status, _, _ := readAll(t, s, "", again(id)...); status != http.StatusBadRequest {
					t.Errorf("id %q: %d", id, status)
				}
			}
			_, events = get(ctx, t, s, "?offset=end", accept...)
			nextEvent(t, events)
			svc.Close()
			if got := nextEvent(t, events); got != "event: error\n"+`data: {"code":"unavailable","message":"the server is shutting down: call again"}` {
				t.Errorf("the end: %q", got)
			}
			if _, err := io.ReadAll(events); err == nil {
				t.Error("the stream ended as if it were complete")
			}
		})
	}
}

// Silence is a comment in a stream of events, and nothing in readable lines.
func TestSilenceOfEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t)
		_, handler := svc.Handler()
		srv := &http.Server{Handler: handler}
		listener := newPipeListener()
		go func() { _ = srv.Serve(listener) }()
		defer func() { _ = srv.Close() }()
		open := func(accept string) *bufio.Reader {
			conn := listener.dial()
			t.Cleanup(func() { _ = conn.Close() })
			_, _ = io.WriteString(conn, "GET "+chatconnect.SimpleChatMessageListProcedure+" HTTP/1.1\r\nHost: chat\r\nAccept: "+accept+"\r\nUser-Name: user1\r\nUser-Password: qwerty\r\n\r\n")
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			return bufio.NewReader(res.Body)
		}
		events, lines := open("text/event-stream"), open("text/plain")
		nextEvent(t, events)
		for range 5 {
			if got := nextEvent(t, events); got != ": nothing new" {
				t.Errorf("%q", got)
			}
		}
		<-time.After(time.Hour) // of the bubble
		if _, err := svc.Publish(t.Context(), chatsvc.User{Name: "ada"}, text("hi")); err != nil {
			t.Fatal(err)
		}
		if line, err := lines.ReadString('\n'); !strings.HasSuffix(line, " ada: hi\n") || err != nil {
			t.Errorf("%q, %v", line, err)
		}
	})
}
