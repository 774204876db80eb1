package chatsvc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Two services live in one mux, beside another handler, one of them below a
// prefix; neither sees the other's messages.
func TestMount(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			plain, prefixed := newService(t), newService(t)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
			mux.Handle(plain.Handler())
			_, handler := prefixed.Handler()
			mux.Handle("/team/", http.StripPrefix("/team", handler))
			s := newServer(t, mux, transport)
			for _, prefix := range []string{"", "/team"} {
				client := chatconnect.NewSimpleChatClient(s.newClient(t), s.url+prefix, connect.WithInterceptors(setHeader(header())))
				sub := chattest.Subscribe(ctx, t, client)
				send(ctx, t, client, text("to "+prefix))
				if got := string(sub.Next().GetContent()); got != "to "+prefix {
					t.Errorf("below %q: message %q", prefix, got)
				}
				if lines := readLines(ctx, t, s, prefix, 1); len(lines[0].GetMessages()) != 1 {
					t.Errorf("below %q: line %v", prefix, lines[0])
				}
			}
			res, err := s.newClient(t).Get(s.url + "/hello")
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("the other handler: %v, %v", res, err)
			}
		})
	}
}

// readLines returns the first n lines of curl's stream.
func readLines(ctx context.Context, tb testing.TB, s *server, prefix string, n int) []*chatpb.ChatMessages {
	tb.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+prefix+chatconnect.SimpleChatMessageListProcedure, strings.NewReader("{}"))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header = header("Content-Type", "application/json")
	res, err := s.newClient(tb).Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if got := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || got != "application/x-ndjson" {
		tb.Fatalf("status %s, content type %q", res.Status, got)
	}
	if res.Header.Get("Chat-Offset") == "" || res.Header.Get("Chat-Epoch") == "" {
		tb.Errorf("headers: %v", res.Header)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 8<<20)
	var got []*chatpb.ChatMessages
	for len(got) < n && lines.Scan() {
		messages := &chatpb.ChatMessages{}
		if err := protojson.Unmarshal(lines.Bytes(), messages); err != nil {
			tb.Fatalf("line %q: %v", lines.Text(), err)
		}
		got = append(got, messages)
	}
	if len(got) < n {
		tb.Fatalf("%d lines of %d: %v", len(got), n, lines.Err())
	}
	return got
}

// curl's stream: the history on lines, later messages flushed at once, and at the end the
// error as the last line.
func TestLines(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			if first := readLines(ctx, t, s, "", 1); len(first[0].GetMessages()) != 0 {
				t.Errorf("first line of an empty history: %v", first)
			}
			f := face{service: svc, server: s, protocol: wireProtocols[0]}
			client := f.as(t, "user1", "qwerty")
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+chatconnect.SimpleChatMessageListProcedure, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header = header("Content-Type", "application/json; charset=utf-8")
			res, err := s.newClient(t).Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			lines := bufio.NewReader(res.Body)
			next := func() string {
				line, err := lines.ReadString('\n')
				if err != nil {
					t.Fatalf("after %q: %v", line, err)
				}
				return line
			}
			if got := next(); got != "{}\n" {
				t.Errorf("first line %q", got)
			}
			msg := text("line\nbreak")
			msg.Timestamp = 7
			send(ctx, t, client, msg)
			if got := next(); got != `{"messages":[{"timestamp":"7","content":"bGluZQpicmVhaw==","type":"Text","from":"user1"}]}`+"\n" {
				t.Errorf("line %q", got)
			}
			svc.Close()
			if got := next(); got != `{"code":"unavailable","message":"the server is shutting down: call again"}`+"\n" {
				t.Errorf("last line %q", got)
			}
			if rest, err := io.ReadAll(lines); len(rest) > 0 || err == nil {
				t.Errorf("after the last line: %q, %v: a stream that ends with an error was due to be cut", rest, err)
			}
		})
	}
}

// Interceptors of the embedder's run for every face, curl's stream included,
// and know the user.
func TestHandlerOptions(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	guard := &onlyUser2{}
	svc := newService(t, chatsvc.WithHandlerOptions(connect.WithInterceptors(guard)))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[0])
	f := face{service: svc, server: s, protocol: wireProtocols[0]}
	chattest.Subscribe(ctx, t, f.as(t, "user2", "qwerty"))
	send(ctx, t, f.as(t, "user2", "qwerty"), text("x"))
	if err := receiveError(ctx, f.as(t, "user1", "qwerty")); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("stream of user1: %v", err)
	}
	if _, err := f.as(t, "user1", "qwerty").SendMessage(ctx, text("x")); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("send of user1: %v", err)
	}
	call := rawCall{name: "lines of user1", path: "messageList", contentType: "application/json", body: "{}"}
	if status, code, body := call.do(t, s.newClient(t), s.url); status != http.StatusForbidden || code != "permission_denied" {
		t.Errorf("lines of user1: %d, %s", status, body)
	}
}

// onlyUser2 is an embedder's authorization.
type onlyUser2 struct{}

func (onlyUser2) check(ctx context.Context) error {
	if user, ok := chatsvc.UserFromContext(ctx); !ok || user.Name != "user2" {
		return connect.NewError(connect.CodePermissionDenied, errors.New("not for you"))
	}
	return nil
}

func (i onlyUser2) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if err := i.check(ctx); err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (i onlyUser2) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := i.check(ctx); err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func (onlyUser2) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func TestAuthenticator(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		user chatsvc.User
		err  error
		code connect.Code // 0: let through
		text string
	}{
		{"known", chatsvc.User{Name: "ada"}, nil, 0, ""},
		{"coded error", chatsvc.User{}, connect.NewError(connect.CodeUnavailable, errors.New("directory away")), connect.CodeUnavailable, "directory away"},
		{"unknown error", chatsvc.User{}, errors.New("secret"), connect.CodeInternal, "server's log"},
		{"user without a name", chatsvc.User{}, nil, connect.CodeInternal, "server's log"},
		{"name that is not UTF-8", chatsvc.User{Name: "\xff"}, nil, connect.CodeInternal, "server's log"},
		{"name that is too long", chatsvc.User{Name: strings.Repeat("x", 257)}, nil, connect.CodeInternal, "server's log"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			authenticator := chatsvc.AuthenticatorFunc(func(_ context.Context, h http.Header) (chatsvc.User, error) {
				if h.Get("Authorization") != "Bearer token" {
					return chatsvc.User{}, chatsvc.ErrUnauthenticated
				}
				return test.user, test.err
			})
			log := &chattest.Buffer{}
			forEachFace(t, func(t *testing.T, f face) {
				ctx := chattest.Context(t, patience)
				bearer := f.with(t, http.Header{"Authorization": {"Bearer token"}})
				if strings.Contains(test.text, "server's log") {
					defer func() {
						if !strings.Contains(log.String(), "authenticate") {
							t.Errorf("the cause is not in the server's log: %q", log.String())
						}
					}()
				}
				if test.code == 0 {
					send(ctx, t, bearer, text("hi"))
					if got := chattest.Subscribe(ctx, t, bearer).Next().GetFrom(); got != test.user.Name {
						t.Errorf("from = %q", got)
					}
				} else if _, err := bearer.SendMessage(ctx, text("hi")); connect.CodeOf(err) != test.code || !contains(err, test.text) || contains(err, "secret") {
					t.Errorf("send: %v", err)
				}
				if _, err := f.as(t, "user1", "qwerty").SendMessage(ctx, text("hi")); connect.CodeOf(err) != connect.CodeUnauthenticated {
					t.Errorf("predefined user: %v", err)
				}
			}, chatsvc.WithAuthenticator(authenticator), chatsvc.WithLogger(nosecret.Logger(t, log)))
		})
	}
}

// A call that its caller has given up is no fault of the authenticator's: strangers
// could fill the log.
func TestAuthenticatorOfEndedCall(t *testing.T) {
	t.Parallel()
	log := &chattest.Buffer{}
	var calls int
	svc, err := chatsvc.New(chatsvc.WithLogger(nosecret.Logger(t, log)),
		chatsvc.WithAuthenticator(chatsvc.AuthenticatorFunc(func(ctx context.Context, _ http.Header) (chatsvc.User, error) {
			calls++
			return chatsvc.User{}, ctx.Err()
		})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { svc.Close() })
	_, handler := svc.Handler()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	req := httptest.NewRequestWithContext(ctx, http.MethodPost, chatconnect.SimpleChatSendMessageProcedure, strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	handler.ServeHTTP(httptest.NewRecorder(), req)
	if calls != 1 || strings.Contains(log.String(), "authenticate") {
		t.Errorf("%d calls, the log: %q", calls, log.String())
	}
}

// The body of a call without credentials is not read.
func TestUnauthenticatedBodyIsNotRead(t *testing.T) {
	t.Parallel()
	for _, transport := range transports {
		for _, length := range []int64{-1, 10, 1 << 20} {
			for _, contentType := range []string{"application/proto", "application/json", "application/grpc-web", "text/plain"} {
				for _, path := range []string{chatconnect.SimpleChatSendMessageProcedure, chatconnect.SimpleChatMessageListProcedure, "/" + chatconnect.SimpleChatName + "/x"} {
					t.Run(fmt.Sprint(transport.name, length, contentType, path), func(t *testing.T) {
						t.Parallel()
						svc := newService(t)
						mux := http.NewServeMux()
						mux.Handle(svc.Handler())
						s := newServer(t, mux, transport)
						body, writer := io.Pipe() // never written to
						defer func() { _ = writer.Close() }()
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // far below the service's time for a body
						defer cancel()
						req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, body)
						if err != nil {
							t.Fatal(err)
						}
						req.ContentLength = length
						req.Header.Set("Content-Type", contentType)
						res, err := s.newClient(t).Do(req)
						if err != nil {
							t.Fatal(err)
						}
						if res.StatusCode == http.StatusOK && res.Header.Get("Grpc-Status") != "16" {
							t.Errorf("%v", res)
						}
					})
				}
			}
		}
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		option chatsvc.Option
		text   string
	}{
		{"no content", chatsvc.WithMaxContent(0), "largest content"},
		{"content above the ceiling", chatsvc.WithMaxContent(chatsvc.MaxContentCeiling + 1), "largest content"},
		{"negative heartbeat", chatsvc.WithHeartbeat(-1), "heartbeat"},
		{"no write deadline", chatsvc.WithWriteDeadline(0), "write deadline"},
		{"negative retention", chatsvc.WithRetention(chatsvc.Retention{Messages: -1}), "retention"},
		{"no users", chatsvc.WithUsers(&chatpb.Users{}), "no users"},
		{"nil authenticator", chatsvc.WithAuthenticator(nil), "authenticator is nil"},
		{"nil log", chatsvc.WithLog(nil), "log is nil"},
		{"log without an epoch", chatsvc.WithLog(&stateLog{state: chatsvc.State{First: 1, Next: 1}}), "epoch"},
		{"log with an epoch that is no header", chatsvc.WithLog(&stateLog{state: chatsvc.State{Epoch: "a\r\nb", First: 1, Next: 1}}), "epoch"},
		{"log that begins behind its end", chatsvc.WithLog(&stateLog{state: chatsvc.State{Epoch: "e", First: 2, Next: 1}}), "first offset"},
		{"nil users", chatsvc.WithUsers(nil), "no users"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, err := chatsvc.New(test.option); !contains(err, test.text) {
				t.Errorf("New: %v", err)
			}
		})
	}
	svc := newService(t, chatsvc.WithLogger(nil), chatsvc.WithHeartbeat(0), chatsvc.WithMaxContent(chatsvc.MaxContentCeiling))
	svc.Close()
	svc.Close()
}

// stateLog is a log with a state of its own.
type stateLog struct {
	chatsvc.Log

	state chatsvc.State
}

func (l *stateLog) State(context.Context) (chatsvc.State, error) { return l.state, nil }

// The interceptor guards handlers of the embedder's, with the request gate and
// without.
func TestAuthInterceptor(t *testing.T) {
	t.Parallel()
	authenticator, err := chatsvc.NewUserAuthenticator(chatsvc.DemoUsers())
	if err != nil {
		t.Fatal(err)
	}
	auth := chatsvc.NewAuthInterceptor(authenticator)
	for name, option := range map[string]connect.HandlerOption{"gate": auth.Option(), "interceptor": connect.WithInterceptors(auth)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			mux := http.NewServeMux()
			mux.Handle(chatconnect.NewSimpleChatHandler(whoAmI{}, option))
			f := face{server: newServer(t, mux, transports[1]), protocol: wireProtocols[2]}
			send(ctx, t, f.as(t, "user3", "qwerty"), text("user3"))
			if _, err := f.as(t, "user3", "wrong").SendMessage(ctx, text("user3")); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("send with a wrong password: %v", err)
			}
			if got := chattest.Subscribe(ctx, t, f.as(t, "user3", "qwerty")).Next().GetFrom(); got != "user3" {
				t.Errorf("the stream's user is %q", got)
			}
			if err := receiveError(ctx, f.as(t, "user3", "wrong")); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("stream with a wrong password: %v", err)
			}
		})
	}
}

// whoAmI is an embedder's handler that knows its user.
type whoAmI struct{}

func (whoAmI) SendMessage(ctx context.Context, msg *chatpb.ChatMessage) (*chatpb.None, error) {
	if user, ok := chatsvc.UserFromContext(ctx); !ok || user.Name != string(msg.GetContent()) {
		return nil, fmt.Errorf("user %q, %v", user.Name, ok)
	}
	return &chatpb.None{}, nil
}

func (whoAmI) MessageList(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.ChatMessages]) error {
	user, _ := chatsvc.UserFromContext(ctx)
	return out.Send(&chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{{From: user.Name}}})
}

// Middleware whose writer only unwraps is enough for every face; one that
// cannot flush at all gets an error that says so.
func TestMiddleware(t *testing.T) {
	t.Parallel()
	for _, protocol := range wireProtocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t)
			_, handler := svc.Handler()
			unwraps := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(&unwrapOnly{w}, r) })
			f := face{service: svc, server: newServer(t, unwraps, transports[1]), protocol: protocol}
			sub := chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty"))
			send(ctx, t, f.as(t, "user1", "qwerty"), text("hi"))
			sub.Next()
			hides := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				handler.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
			})
			f.server = newServer(t, hides, transports[1])
			stream, err := f.as(t, "user1", "qwerty").MessageList(ctx, &chatpb.None{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = stream.Close() }()
			for stream.Receive() { // bytes that were written before the flush
			}
			if !contains(stream.Err(), "middleware") {
				t.Errorf("the stream ended with %v", stream.Err())
			}
		})
	}
}

// unwrapOnly is middleware's writer as [http.NewResponseController] wants it.
type unwrapOnly struct{ w http.ResponseWriter }

func (u *unwrapOnly) Header() http.Header         { return u.w.Header() }
func (u *unwrapOnly) Write(p []byte) (int, error) { return u.w.Write(p) }
func (u *unwrapOnly) WriteHeader(status int)      { u.w.WriteHeader(status) }
func (u *unwrapOnly) Unwrap() http.ResponseWriter { return u.w }

// The largest message that an option allows fits a default gRPC client, in JSON
// too.
func TestCeilingFitsDefaultClients(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		f.protocol.options = append([]connect.ClientOption{connect.WithReadMaxBytes(4 << 20)}, f.protocol.options...)
		client := f.as(t, "user1", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		send(ctx, t, client, &chatpb.ChatMessage{Content: make([]byte, chatsvc.MaxContentCeiling), Type: chatpb.ChatMessage_Image, Timestamp: 1<<64 - 1})
		if got := len(sub.Next().GetContent()); got != chatsvc.MaxContentCeiling {
			t.Errorf("%d bytes came back", got)
		}
	}, chatsvc.WithMaxContent(chatsvc.MaxContentCeiling))
}

// No password and no content is ever logged.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	var out chattest.Buffer
	logger := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	svc := newService(t, chatsvc.WithLogger(logger), chatsvc.WithUsers(&chatpb.Users{Users: []*chatpb.User{{Name: "ada", Password: "s3cr3t"}}}))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
	sub := chattest.Subscribe(ctx, t, f.as(t, "ada", "s3cr3t"))
	send(ctx, t, f.as(t, "ada", "s3cr3t"), text("private words"))
	sub.Next()
	if _, err := f.as(t, "ada", "s3cr3t!").SendMessage(ctx, text("x")); err == nil {
		t.Error("a wrong password was let through")
	}
	if err := svc.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	log := out.String()
	if !strings.Contains(log, "user=ada") {
		t.Errorf("the subscription is not logged: %q", log)
	}
	if strings.Contains(log, "s3cr3t") || strings.Contains(log, "private") {
		t.Errorf("a secret is logged: %q", log)
	}
}

// A caller's own deadline ends the stream with deadline_exceeded.
func TestCallersDeadline(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx, cancel := context.WithTimeout(chattest.Context(t, patience), 100*time.Millisecond)
		defer cancel()
		stream, err := f.as(t, "user1", "qwerty").MessageList(ctx, &chatpb.None{})
		for err == nil && stream.Receive() {
		}
		if err == nil {
			err = stream.Err()
		}
		if connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("stream ended with %v", err)
		}
	})
}
