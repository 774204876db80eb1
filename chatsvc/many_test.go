package chatsvc_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// jsonLine returns the line of a text with an optional key.
func jsonLine(content, key string) string {
	line := fmt.Sprintf(`{"content":%q,"type":"Text"`, base64.StdEncoding.EncodeToString([]byte(content)))
	if key != "" {
		line += fmt.Sprintf(`,"key":%q`, key)
	}
	return line + "}\n"
}

// manySend is a request with many messages that a test writes line by line.
type manySend struct {
	tb    testing.TB
	body  *io.PipeWriter
	res   *http.Response
	lines *bufio.Reader
}

// sendMany opens a request that stays open until the test ends it.
func sendMany(ctx context.Context, tb testing.TB, s *server, h http.Header) *manySend {
	tb.Helper()
	reader, writer := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+chatconnect.SimpleChatSendMessageProcedure, reader)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = h
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := s.newClient(tb).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = writer.Close()
		_ = res.Body.Close()
	})
	return &manySend{tb: tb, body: writer, res: res, lines: bufio.NewReader(res.Body)}
}

// write sends lines.
func (m *manySend) write(lines string) {
	m.tb.Helper()
	if _, err := io.WriteString(m.body, lines); err != nil {
		m.tb.Fatal(err)
	}
}

// next returns the next answer.
func (m *manySend) next() string {
	m.tb.Helper()
	line, err := m.lines.ReadString('\n')
	if err != nil {
		m.tb.Fatalf("after %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// Each line is answered while the request is open, in order; one that is refused does
// not end the others, and is not stored.
func TestManyMessagesInOneRequest(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t, chatsvc.WithMaxContent(100_000))
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			many := sendMany(ctx, t, s, header())
			if many.res.StatusCode != http.StatusOK || many.res.Header.Get("Chat-Epoch") == "" || many.res.Header.Get("Content-Type") != "application/x-ndjson" {
				t.Fatalf("%s: %v", many.res.Status, many.res.Header)
			}
			tests := []struct{ line, answer string }{
				{jsonLine("one", ""), `{"offset":"1"}`},
				{jsonLine("two", "k"), `{"offset":"2"}`},
				{"\n \n" + jsonLine("two again", "k"), `{"offset":"2","duplicate":true}`},
				{`{ "type" : "Text" , "content" : "dGhyZWU=" }` + "\r\n", `{"offset":"3"}`},
				{`{"timestamp":"7","content":"Zm91cg","type":1,"key":"\u006b2"}` + "\n", `{"offset":"4"}`},
				{`{"timestamp":"7","content":"Zm91cg","type":1,"key":"k2"}` + "\n", `{"offset":"4","duplicate":true}`},
				{"{\n", `"code":"invalid_argument"`},
				{`{"content":"hell"}` + "\n", `text/plain`},
				{`{"content":"aGk=","type":"Video"}` + "\n", `"code":"invalid_argument"`},
				{`{"content":"aGk=aGk=","type":"Text"}` + "\n", `"code":"invalid_argument"`},
				{`{"content":"/w==","type":"Text"}` + "\n", `not UTF-8`},
				{`{"content":"aGk=","type":"Text","key":7}` + "\n", `must be a string`},
				{`{"content":"aGk=","type":"Text","key":""}` + "\n", `"code":"invalid_argument"`},
				{`{"content":"aGk=","type":"Text","key":"a` + strings.Repeat("b", 200) + `"}` + "\n", `Idempotency-Key`},
				{`{"content":"aGk=","type":"Text","nonsense":1}` + "\n", `"code":"invalid_argument"`},
				{jsonLine(strings.Repeat("x", 100_001), ""), `"code":"resource_exhausted"`},
				{strings.Repeat("x", 1<<20) + "\n", `the line is larger than`},
				{jsonLine(strings.Repeat("x", 100_000), ""), `{"offset":"5"}`},
				{jsonLine("six", ""), `{"offset":"6"}`},
			}
			for _, test := range tests {
				many.write(test.line)
				if got := many.next(); got != test.answer && (test.answer[0] == '{' || !strings.Contains(got, test.answer)) {
					t.Errorf("%.80q: %q", test.line, got)
				}
			}
			many.write(strings.TrimSuffix(jsonLine("seven", ""), "\n"))
			_ = many.body.Close()
			if rest, err := io.ReadAll(many.lines); string(rest) != `{"offset":"7"}`+"\n" || err != nil {
				t.Errorf("the last line: %q, %v", rest, err)
			}
			sub := chattest.Subscribe(ctx, t, face{service: svc, server: s, protocol: wireProtocols[0]}.as(t, "user2", "qwerty"))
			for _, want := range []string{"one", "two", "three", "four", strings.Repeat("x", 100_000), "six", "seven"} {
				if got := sub.Next(); string(got.GetContent()) != want || got.GetFrom() != "user1" {
					t.Errorf("%.80v, %.80q was due", got, want)
				}
			}
		})
	}
}

// readCuts is an HTTP/1.1 response that counts the read deadlines in the past.
type readCuts struct {
	*httptest.ResponseRecorder

	count atomic.Int32
}

func (c *readCuts) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		c.count.Add(1)
	}
	return nil
}

// After a body has ended, net/http reads on for the connection's next request: to cut
// that read would end the connection, and cancel the next request.
func TestManyMessagesLeaveTheConnectionAlone(t *testing.T) {
	t.Parallel()
	_, handler := newService(t).Handler()
	req := httptest.NewRequestWithContext(chattest.Context(t, patience), http.MethodPost, chatconnect.SimpleChatSendMessageProcedure,
		io.MultiReader(strings.NewReader(jsonLine("one", "")+jsonLine("two", ""))))
	req.Header = header()
	req.Header.Set("Content-Type", "application/x-ndjson")
	res := &readCuts{ResponseRecorder: httptest.NewRecorder()}
	handler.ServeHTTP(res, req)
	if got, want := res.Body.String(), `{"offset":"1"}`+"\n"+`{"offset":"2"}`+"\n"; got != want || res.count.Load() != 0 {
		t.Errorf("%q, and %d cut reads", got, res.count.Load())
	}
}

// Requests that send at once keep their own order, also where they are read slowly.
func TestManyMessagesKeepTheirOrder(t *testing.T) {
	t.Parallel()
	const senders, messages = 4, 5000
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t, chatsvc.WithRetention(chatsvc.Retention{})) // a subscriber that is late gets all
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			sub := chattest.Subscribe(ctx, t, face{service: svc, server: s, protocol: wireProtocols[0]}.with(t, header("Chat-Offset", "1")))
			var wg sync.WaitGroup
			for i := range senders {
				many := sendMany(ctx, t, s, http.Header{"User-Name": {fmt.Sprintf("user%d", i+1)}, "User-Password": {"qwerty"}})
				wg.Go(func() {
					var lines bytes.Buffer
					for n := range messages {
						lines.WriteString(jsonLine(fmt.Sprint(n), ""))
					}
					_, _ = lines.WriteTo(many.body)
					_ = many.body.Close()
				})
				wg.Go(func() {
					last, count := 0, 0
					for {
						line, err := many.lines.ReadString('\n')
						if errors.Is(err, io.EOF) {
							break
						}
						var offset int
						if _, scanErr := fmt.Sscanf(line, `{"offset":"%d"}`, &offset); scanErr != nil || offset <= last || err != nil {
							t.Errorf("answer %q after offset %d, %v", line, last, err)
							break
						}
						last = offset
						count++
					}
					if count != messages {
						t.Errorf("%d answers", count)
					}
				})
			}
			seen := sub.Collect(senders * messages)
			wg.Wait()
			checkEachOnce(t, seen, senders, messages)
		})
	}
}

// Credentials are looked at before the first line and at each one.
func TestManyMessagesAreAuthenticatedOneByOne(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	revoked := false
	auth := chatsvc.AuthenticatorFunc(func(context.Context, http.Header) (chatsvc.User, error) {
		mu.Lock()
		defer mu.Unlock()
		if revoked {
			return chatsvc.User{}, fmt.Errorf("your session has ended: %w", chatsvc.ErrUnauthenticated)
		}
		return chatsvc.User{Name: "ada"}, nil
	})
	for _, transport := range transports[:4] {
		ctx := chattest.Context(t, patience)
		svc := newService(t, chatsvc.WithAuthenticator(auth), chatsvc.WithHandlerOptions(connect.WithInterceptors(refuseText("spam"))))
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		s := newServer(t, mux, transport)
		many := sendMany(ctx, t, s, header())
		many.write(jsonLine("hi", "") + jsonLine("spam", "") + jsonLine("ho", ""))
		if got := many.next() + many.next() + many.next(); got != `{"offset":"1"}{"code":"permission_denied","message":"no spam"}{"offset":"2"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
		mu.Lock()
		revoked = true
		mu.Unlock()
		many.write(jsonLine("too late", ""))
		if got := many.next(); !strings.Contains(got, `"code":"unauthenticated"`) {
			t.Errorf("%s: %q", transport.name, got)
		}
		refused := sendMany(ctx, t, s, header())
		if refused.res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", transport.name, refused.res.Status)
		}
		mu.Lock()
		revoked = false
		mu.Unlock()
	}
}

// refuseText is an interceptor of an embedder's that looks at messages.
type refuseText string

func (i refuseText) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if msg, ok := req.Any().(*chatpb.ChatMessage); ok && string(msg.GetContent()) == string(i) {
			return nil, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("no %s", i))
		}
		return next(ctx, req)
	}
}

func (refuseText) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (refuseText) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// Shutdown ends an open request with an error.
func TestManyMessagesEndAtShutdown(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			many := sendMany(ctx, t, s, header())
			many.write(jsonLine("hi", ""))
			if got := many.next(); got != `{"offset":"1"}` {
				t.Errorf("%q", got)
			}
			svc.Close()
			if got := many.next(); !strings.Contains(got, "shutting down") {
				t.Errorf("%q", got)
			}
			if rest, err := io.ReadAll(many.lines); len(rest) > 0 || err == nil {
				t.Errorf("%q, %v", rest, err)
			}
			if err := svc.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// A panic of an embedder's interceptor is its handler's, where a server recovers it.
func TestPanicOfALineIsTheRequests(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		ctx := chattest.Context(t, patience)
		svc := newService(t, chatsvc.WithHandlerOptions(connect.WithInterceptors(panicText("boom"))),
			chatsvc.WithLogger(slog.New(slog.DiscardHandler)))
		_, handler := svc.Handler()
		panics := make(chan any, 1)
		s := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				if p := recover(); p != nil {
					panics <- p
					panic(http.ErrAbortHandler)
				}
			}()
			handler.ServeHTTP(w, r)
		}), transport)
		many := sendMany(ctx, t, s, header())
		many.write(jsonLine("hi", ""))
		if got := many.next(); got != `{"offset":"1"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
		many.write(jsonLine("boom", ""))
		if rest, err := io.ReadAll(many.lines); len(rest) > 0 || err == nil {
			t.Errorf("%s: %q, %v", transport.name, rest, err)
		}
		if p := <-panics; p != "boom" {
			t.Errorf("%s: the handler has panicked with %v", transport.name, p)
		}
		again := sendMany(ctx, t, s, header())
		again.write(jsonLine("ho", ""))
		if got := again.next(); got != `{"offset":"2"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
	}
}

// panicText is an interceptor of an embedder's that panics at a text.
type panicText string

func (i panicText) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if msg, ok := req.Any().(*chatpb.ChatMessage); ok && string(msg.GetContent()) == string(i) {
			panic(string(i))
		}
		return next(ctx, req)
	}
}

func (panicText) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

func (panicText) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// When credentials are revoked, the open requests with many messages that have them end.
func TestManyMessagesEndWhenRevoked(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		ctx := chattest.Context(t, patience)
		a := revocable{make(chan struct{})}
		svc := newService(t, chatsvc.WithAuthenticator(a))
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		s := newServer(t, mux, transport)
		ends := sendMany(ctx, t, s, http.Header{"User-Name": {"user2"}, "User-Password": {"x"}})
		stays := sendMany(ctx, t, s, header())
		ends.write(jsonLine("hi", ""))
		if got := ends.next(); got != `{"offset":"1"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
		close(a.revoked)
		if got := ends.next(); !strings.Contains(got, `"code":"unauthenticated"`) || !strings.Contains(got, "log in again") {
			t.Errorf("%s: %q", transport.name, got)
		}
		if rest, err := io.ReadAll(ends.lines); len(rest) > 0 || err == nil {
			t.Errorf("%s: %q, %v", transport.name, rest, err)
		}
		stays.write(jsonLine("ho", ""))
		if got := stays.next(); got != `{"offset":"2"}` {
			t.Errorf("%s: %q", transport.name, got)
		}
	}
}

// A client that was told to continue and sends nothing is not waited for.
func TestManyMessagesEndBeforeTheFirst(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		end    func(*chatsvc.Service, revocable)
		status int
	}{
		{"close", func(svc *chatsvc.Service, _ revocable) { svc.Close() }, http.StatusServiceUnavailable},
		{"revoke", func(_ *chatsvc.Service, a revocable) { close(a.revoked) }, http.StatusUnauthorized},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			a := revocable{make(chan struct{})}
			svc := newService(t, chatsvc.WithAuthenticator(a))
			_, handler := svc.Handler()
			s := newServer(t, handler, transports[0])
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, _ = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: chat\r\nContent-Type: application/x-ndjson\r\nUser-Name: user2\r\nUser-Password: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
				chatconnect.SimpleChatSendMessageProcedure)
			in := bufio.NewReader(conn)
			for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} {
				if got, err := in.ReadString('\n'); got != want || err != nil {
					t.Fatalf("%q, %v", got, err)
				}
			}
			test.end(svc, a)
			res, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != test.status {
				t.Errorf("%s", res.Status)
			}
			_ = conn.Close()
			if err := svc.Shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
