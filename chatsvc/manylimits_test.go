package chatsvc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// A line that stops to arrive ends its request; a client that is silent between lines
// may stay.
func TestStalledLineEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		svc := newService(t)
		_, handler := svc.Handler()
		srv := &http.Server{Handler: handler}
		listener := newPipeListener()
		go func() { _ = srv.Serve(listener) }()
		defer func() { _ = srv.Close() }()
		conn := listener.dial()
		defer func() { _ = conn.Close() }()
		_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: chat\r\nContent-Type: application/x-ndjson\r\nUser-Name: user1\r\nUser-Password: qwerty\r\nTransfer-Encoding: chunked\r\n\r\n",
			chatconnect.SimpleChatSendMessageProcedure)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(res.Body)
		for range 3 {
			line := jsonLine("hi", "")
			_, _ = fmt.Fprintf(conn, "%x\r\n%s\r\n", len(line), line)
			if got, err := lines.ReadString('\n'); !strings.HasPrefix(got, `{"offset":`) || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			<-time.After(time.Hour)
		}
		begun := time.Now()
		_, _ = io.WriteString(conn, "1\r\n{\r\n")
		got, err := lines.ReadString('\n')
		if !strings.Contains(got, "deadline_exceeded") || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if waited := time.Since(begun); waited > 3*time.Minute {
			t.Errorf("it ended after %v", waited)
		}
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err == nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// Requests with many messages share the memory for bodies with all others.
func TestManyMessagesAreCountedAsBodies(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	svc := newService(t, chatsvc.WithMaxContent(1000), chatsvc.WithBodyBytes(2<<20))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	for _, transport := range transports {
		s := newServer(t, mux, transport)
		var open []*manySend
		for {
			many := sendMany(ctx, t, s, header())
			if many.res.StatusCode == http.StatusTooManyRequests {
				if many.res.Header.Get("Retry-After") == "" {
					t.Errorf("%s: %v", transport.name, many.res.Header)
				}
				break
			}
			open = append(open, many)
			if len(open) > 10 {
				t.Fatalf("%s: %d requests of one user hold more than the bound", transport.name, len(open))
			}
		}
		if len(open) == 0 {
			t.Fatalf("%s: none is served", transport.name)
		}
		other := sendMany(ctx, t, s, http.Header{"User-Name": {"user2"}, "User-Password": {"qwerty"}})
		if other.res.StatusCode != http.StatusOK {
			t.Errorf("%s: another user: %s", transport.name, other.res.Status)
		}
		for _, many := range append(open, other) {
			_ = many.body.Close()
			if rest, err := io.ReadAll(many.lines); len(rest) > 0 || err != nil {
				t.Errorf("%s: %q, %v", transport.name, rest, err)
			}
		}
	}
}

// Requests with many messages that are refused.
func TestManyMessagesRefused(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		svc := newService(t)
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		s := newServer(t, mux, transport)
		for _, test := range []rawCall{
			{name: "key", header: []string{"Idempotency-Key", "k"}, status: 400, code: "invalid_argument"},
			{name: "compressed", header: []string{"Content-Encoding", "gzip"}, status: 501, code: "unimplemented"},
			{name: "wrong password", header: []string{"User-Password", "x"}, status: 401, code: "unauthenticated"},
			{name: "GET", method: http.MethodGet, status: 405},
		} {
			test.contentType, test.body = "application/x-ndjson", strings.Repeat(jsonLine("hi", ""), 50_000)
			if status, code, body := test.do(t, s.newClient(t), s.url); status != test.status || code != test.code {
				t.Errorf("%s, %s: %d, %q: %s", transport.name, test.name, status, code, body)
			}
		}
	}
}

// A request that is silent after a long line holds no more than before it.
//
//nolint:paralleltest // it measures the heap
func TestLongLinesLeaveNothing(t *testing.T) {
	const size = 2 << 20
	svc := newService(t, chatsvc.WithMaxContent(size), chatsvc.WithBodyBytes(16*size))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[0])
	ctx := chattest.Context(t, patience)
	many := sendMany(ctx, t, s, header())
	for name, line := range map[string]string{
		"content": jsonLine(strings.Repeat("\xff", size), ""),
		"key":     jsonLine("hi", strings.Repeat("k", size)),
		"type":    `{"content":"aGk=","type":"` + strings.Repeat("x", size) + "\"}\n",
	} {
		before := liveHeap()
		many.write(line)
		if got := many.next(); !strings.Contains(got, `"code":"invalid_argument"`) {
			t.Errorf("%s: %.200q", name, got)
		}
		for held := liveHeap() - before; held > size/2; held = liveHeap() - before { // the answer may be here first
			if ctx.Err() != nil {
				t.Fatalf("%s: %d bytes are held", name, held)
			}
		}
	}
}

// Open requests with many messages leave memory for single ones, also where there is
// just enough for the largest.
func TestManyMessagesLeaveRoomForOthers(t *testing.T) {
	t.Parallel()
	for _, bytes := range []int64{531 << 10, 2 << 20, 8 << 20} {
		const content = 1000
		ctx := chattest.Context(t, patience)
		svc := newService(t, chatsvc.WithMaxContent(content), chatsvc.WithBodyBytes(bytes), chatsvc.WithAuthenticator(revocable{}))
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		s := newServer(t, mux, transports[0])
		held := int64(0)
		for i := 0; ; i++ {
			many := sendMany(ctx, t, s, http.Header{"User-Name": {fmt.Sprint("many", i)}, "User-Password": {"x"}})
			if many.res.StatusCode != http.StatusOK {
				break
			}
			held += 320 << 10
		}
		if held == 0 || held > max(bytes/2, 320<<10) {
			t.Errorf("%d bytes of %d are held", held, bytes)
		}
		single := rawCall{contentType: "application/json", body: jsonLine("hi", "") + strings.Repeat(" ", 60<<10)}
		if status, code, body := single.do(t, s.newClient(t), s.url); status != http.StatusOK {
			t.Errorf("%d bytes: %d, %q: %s", bytes, status, code, body)
		}
	}
}

// Where the order matters, nothing behind a line that may be stored later is stored or
// answered; a line that is refused for good ends nothing.
func TestManyMessagesInOrder(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t, chatsvc.WithHandlerOptions(connect.WithInterceptors(refuseLater("later"))))
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			h := header()
			h.Set("Chat-Ordered", "true")
			many := sendMany(ctx, t, s, h)
			many.write(jsonLine("one", "") + "{\n" + jsonLine("two", "") + jsonLine("later", "") + jsonLine("three", ""))
			for _, want := range []string{`{"offset":"1"}`, `"code":"invalid_argument"`, `{"offset":"2"}`, `"code":"unavailable"`} {
				if got := many.next(); !strings.Contains(got, want) {
					t.Errorf("%q, %q was due", got, want)
				}
			}
			if rest, err := io.ReadAll(many.lines); len(rest) > 0 || err != nil {
				t.Errorf("%q, %v after the line that may be stored later", rest, err)
			}
			next, err := svc.Publish(ctx, chatsvc.User{Name: "user1"}, &chatpb.ChatMessage{Content: []byte("next"), Type: chatpb.ChatMessage_Text})
			if err != nil || next.Offset != 3 {
				t.Errorf("the next offset is %d (%v), 3 was due", next.Offset, err)
			}
		})
	}
}

// refuseLater is an interceptor that refuses a text for a reason that passes.
func refuseLater(content string) connect.UnaryInterceptorFunc {
	return func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			if msg, ok := r.Any().(*chatpb.ChatMessage); ok && string(msg.GetContent()) == content {
				return nil, connect.NewError(connect.CodeUnavailable, errors.New("later"))
			}
			return next(ctx, r)
		}
	}
}
