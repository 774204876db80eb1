package limit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// newChat serves a chat with limits, behind a trusted proxy, and returns how to call it.
func newChat(tb testing.TB, c Config) (l *Limits, as func(address, user string) chatconnect.SimpleChatClient, url string) {
	tb.Helper()
	c.Trusted = append(c.Trusted, loopback)
	l = New(c)
	svc, err := chatsvc.New(chatsvc.WithHandlerOptions(l.Option()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(svc.Close)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	server := httptest.NewServer(l.Handler(mux))
	tb.Cleanup(func() {
		svc.Close()
		server.CloseClientConnections()
		server.Close()
	})
	return l, func(address, user string) chatconnect.SimpleChatClient {
		return chatconnect.NewSimpleChatClient(&http.Client{Transport: caller{address, user}}, server.URL)
	}, server.URL
}

// caller is a client at an address, as a proxy tells it.
type caller struct{ address, user string }

func (c caller) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(c.user, "qwerty")
	r.Header.Set("X-Forwarded-For", c.address)
	return http.DefaultTransport.RoundTrip(r)
}

// mustRefuse checks that err is a limit's, and says when to come back.
func mustRefuse(tb testing.TB, err error) {
	tb.Helper()
	var coded *connect.Error
	if connect.CodeOf(err) != connect.CodeResourceExhausted || !errors.As(err, &coded) || coded.Meta().Get("Retry-After") == "" {
		tb.Errorf("not refused with a time to come back: %v", err)
		return
	}
	if details := coded.Details(); len(details) != 1 || details[0].Type() != "google.rpc.RetryInfo" {
		tb.Errorf("details %v", details)
	}
}

// open opens a stream and returns the error that it begins with.
func open(ctx context.Context, tb testing.TB, client chatconnect.SimpleChatClient) error {
	tb.Helper()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	tb.Cleanup(func() { _ = stream.Close() })
	if !stream.Receive() {
		return stream.Err()
	}
	return nil
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		config Config
		kind   string
		second caller // another user or address, which is not limited
	}{
		{"per user", Config{StreamsPerUser: 3}, "streams per user", caller{"192.0.2.1", "user2"}},
		{"per address", Config{StreamsPerAddress: 3}, "streams per address", caller{"192.0.2.2", "user1"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, 30*time.Second)
			l, as, _ := newChat(t, test.config)
			for range 3 {
				if err := open(ctx, t, as("192.0.2.1", "user1")); err != nil {
					t.Fatal(err)
				}
			}
			mustRefuse(t, open(ctx, t, as("192.0.2.1", "user1")))
			if n := l.Refused(test.kind); n != 1 {
				t.Errorf("%d refusals were counted", n)
			}
			if err := open(ctx, t, as(test.second.address, test.second.user)); err != nil {
				t.Errorf("another one: %v", err)
			}
			for range 5 { // a bot beside the server
				if err := open(ctx, t, as("127.0.0.1", "user1")); err != nil {
					t.Errorf("on loopback: %v", err)
				}
			}
		})
	}
}

func TestSubscribersAreBoundedInAll(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, 30*time.Second)
	_, as, _ := newChat(t, Config{Streams: 2})
	for _, address := range []string{"192.0.2.1", "127.0.0.1"} {
		if err := open(ctx, t, as(address, "user1")); err != nil {
			t.Fatal(err)
		}
	}
	mustRefuse(t, open(ctx, t, as("192.0.2.3", "user3")))
}

func TestSendsAreBounded(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, 30*time.Second)
	l, as, _ := newChat(t, Config{Sends: 0.001, SendBurst: 3})
	send := func(address, user string) error {
		_, err := as(address, user).SendMessage(ctx, &chatpb.ChatMessage{Content: []byte("hello"), Type: chatpb.ChatMessage_Text})
		return err
	}
	for range 3 {
		if err := send("192.0.2.1", "user1"); err != nil {
			t.Fatal(err)
		}
	}
	mustRefuse(t, send("192.0.2.2", "user1"))
	if err := send("192.0.2.1", "user2"); err != nil {
		t.Errorf("another user: %v", err)
	}
	if err := send("127.0.0.1", "user1"); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	if n := l.Refused("sends per user"); n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
}

// A send beyond the limit is refused before its message has arrived.
func TestSendIsRefusedBeforeItsBody(t *testing.T) {
	t.Parallel()
	for name, contentType := range map[string]string{"Connect": "application/json", "plain": "text/plain"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, 30*time.Second)
			_, as, url := newChat(t, Config{Sends: 0.001, SendBurst: 1})
			client := as("192.0.2.1", "user1")
			if _, err := client.SendMessage(ctx, &chatpb.ChatMessage{Content: []byte("hello"), Type: chatpb.ChatMessage_Text}); err != nil {
				t.Fatal(err)
			}
			body, unsent := io.Pipe()
			defer unsent.Close()
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+chatconnect.SimpleChatSendMessageProcedure, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", contentType)
			res, err := caller{"192.0.2.1", "user1"}.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") == "" {
				t.Errorf("%s, %v", res.Status, res.Header)
			}
		})
	}
}

// A refused GET has the same error as other calls, with the time of the next try in both
// its places, and a stream that was open is not disturbed.
func TestRefusedGet(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, 30*time.Second)
	_, _, url := newChat(t, Config{StreamsPerUser: 1})
	get := func(accept string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url+chatconnect.SimpleChatMessageListProcedure, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", accept)
		res, err := caller{"192.0.2.1", "user1"}.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res
	}
	if res := get("text/event-stream"); res.StatusCode != http.StatusOK {
		t.Fatal(res.Status)
	}
	for _, accept := range []string{"*/*", "text/event-stream", "text/plain"} {
		res := get(accept)
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "5" ||
			!strings.Contains(string(body), `"type":"google.rpc.RetryInfo"`) || !strings.Contains(string(body), `"retryDelay":"5s"`) {
			t.Errorf("%s: %s, %v, %s", accept, res.Status, res.Header, body)
		}
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := New(Config{Connections: 2, ConnectionsPerAddress: 1})
	listener := l.Listener(inner)
	defer func() { _ = listener.Close() }()
	accepted := make(chan net.Conn)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	dial()
	first := <-accepted
	dial()
	<-accepted
	third := dial()
	_ = third.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the third connection was not closed: %v", err)
	}
	_ = first.Close()
	_ = first.Close() // counts once
	dial()
	<-accepted
	if n := l.Refused("connections in total"); n != 1 {
		t.Errorf("%d refusals were counted", n)
	}
}

func TestPublicCallsAreBounded(t *testing.T) {
	t.Parallel()
	l := New(Config{Public: 3, PublicPerAddress: 2})
	ending, end := context.WithCancel(context.Background())
	entered, left := make(chan struct{}), make(chan struct{})
	handler := l.Handler(l.Public(ending, true, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-r.Context().Done()
		left <- struct{}{}
	})))
	call := func(address string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.RemoteAddr = address + ":1"
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}
	for _, address := range []string{"192.0.2.1", "192.0.2.1"} {
		go call(address)
		<-entered
	}
	if w := call("192.0.2.1"); w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("the third call of an address: %d, %v", w.Code, w.Header())
	}
	go call("192.0.2.2")
	<-entered
	if w := call("192.0.2.3"); w.Code != http.StatusTooManyRequests {
		t.Errorf("the fourth call: %d", w.Code)
	}
	end()
	for range 3 {
		<-left
	}
}

func TestWrongPasswordsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const limit = 10
		var lines bytes.Buffer
		l := New(Config{WrongPasswords: limit, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		users, err := chatsvc.NewUserAuthenticator(chatsvc.DemoUsers())
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		auth := l.Authenticator(chatsvc.AuthenticatorFunc(func(ctx context.Context, h http.Header) (chatsvc.User, error) {
			checked++
			return users.Authenticate(ctx, h)
		}))
		login := func(address, user, password string) error {
			ctx := context.WithValue(t.Context(), addressKey{}, netip.MustParseAddr(address))
			_, err := auth.Authenticate(ctx, http.Header{"User-Name": {user}, "User-Password": {password}})
			return err
		}
		if err := login("192.0.2.1", "user1", "qwerty"); err != nil {
			t.Fatal(err)
		}
		var err2 error
		for range 1000 {
			err2 = login("198.51.100.1", "user1", "wrong")
		}
		mustRefuse(t, err2)
		mustRefuse(t, login("198.51.100.1", "nobody", "wrong"))
		if checked > 2*limit+1 {
			t.Errorf("%d passwords were checked", checked)
		}
		for _, address := range []string{"192.0.2.1", "203.0.113.9", "127.0.0.1"} {
			if err := login(address, "user1", "qwerty"); err != nil {
				t.Errorf("the user is locked out at %s: %v", address, err)
			}
		}
		if strings.Contains(lines.String(), "nobody") || !strings.Contains(lines.String(), "198.51.100.1") {
			t.Errorf("logged:\n%s", &lines)
		}
		if n := strings.Count(lines.String(), "\n"); n > 2*limit {
			t.Errorf("%d lines", n)
		}
	})
}

// Each wrong password and wrong token is in the log with the caller's address, also
// where the number of attempts is not limited. A call without credentials is no login.
func TestFailedLoginsAreLogged(t *testing.T) {
	t.Parallel()
	basic := http.Header{"User-Name": {"user1"}, "User-Password": {"wrong"}}
	tests := []struct {
		name, address string
		limit         int
		header        http.Header
		want          string // empty: no line
	}{
		{"loopback", "127.0.0.1", 10, basic, "127.0.0.1"},
		{"trusted proxy", "10.0.0.1", 10, basic, "10.0.0.1"},
		{"no limit", "192.0.2.1", 0, basic, "192.0.2.1"},
		{"Unix socket", "", 10, basic, "unix"},
		{"token", "192.0.2.1", 10, http.Header{"Authorization": {"Bearer wrong"}}, "192.0.2.1"},
		{"no credentials", "192.0.2.1", 10, http.Header{}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var lines bytes.Buffer
			l := New(Config{WrongPasswords: test.limit, Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			auth := l.Authenticator(chatsvc.AuthenticatorFunc(func(context.Context, http.Header) (chatsvc.User, error) {
				return chatsvc.User{}, chatsvc.ErrUnauthenticated
			}))
			address, _ := netip.ParseAddr(test.address)
			_, err := auth.Authenticate(context.WithValue(t.Context(), addressKey{}, address), test.header)
			if !errors.Is(err, chatsvc.ErrUnauthenticated) {
				t.Fatal(err)
			}
			logged := strings.Contains(lines.String(), `limit="failed logins" address=`+test.want+" ")
			if test.want == "" {
				logged = lines.Len() == 0
			}
			if !logged {
				t.Errorf("logged: %q", &lines)
			}
		})
	}
}

// Guesses at the same time are as many as guesses one after the other. Right passwords
// at the same time are never refused, and leave all attempts as they were.
func TestWrongPasswordsAtTheSameTime(t *testing.T) {
	t.Parallel()
	const limit, many = 10, 400
	tests := []struct {
		name, password string
		known          bool // the user logged in there before
		canceled       bool
		checked, right int
		refused        int
	}{
		{name: "wrong", password: "wrong", checked: limit, refused: many - limit},
		{name: "wrong, known", password: "wrong", known: true, checked: limit, refused: many - limit},
		{name: "right", password: "qwerty", checked: many, right: many},
		{name: "right, known", password: "qwerty", known: true, checked: many, right: many},
		{name: "broken", password: "broken", checked: many},
		{name: "canceled", password: "wrong", canceled: true, checked: limit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := New(Config{WrongPasswords: limit})
				var checked, right, refused, unauthenticated atomic.Int32
				auth := l.Authenticator(chatsvc.AuthenticatorFunc(func(ctx context.Context, h http.Header) (chatsvc.User, error) {
					checked.Add(1)
					select {
					case <-time.After(time.Millisecond): // all others have begun by then
					case <-ctx.Done():
						return chatsvc.User{}, ctx.Err()
					}
					switch h.Get("User-Password") {
					case "qwerty":
						return chatsvc.User{}, nil
					case "broken":
						return chatsvc.User{}, io.ErrUnexpectedEOF
					default:
						return chatsvc.User{}, chatsvc.ErrUnauthenticated
					}
				}))
				login := func(ctx context.Context, password string) error {
					ctx = context.WithValue(ctx, addressKey{}, netip.MustParseAddr("192.0.2.1"))
					_, err := auth.Authenticate(ctx, http.Header{"User-Name": {"user1"}, "User-Password": {password}})
					return err
				}
				if test.known {
					if err := login(t.Context(), "qwerty"); err != nil {
						t.Fatal(err)
					}
					checked.Store(0)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var all sync.WaitGroup
				for range many {
					all.Go(func() {
						switch err := login(ctx, test.password); {
						case err == nil:
							right.Add(1)
						case errors.Is(err, chatsvc.ErrUnauthenticated):
							unauthenticated.Add(1)
						case connect.CodeOf(err) == connect.CodeResourceExhausted:
							refused.Add(1)
						}
					})
				}
				if test.canceled {
					synctest.Wait()
					cancel()
				}
				all.Wait()
				if int(checked.Load()) != test.checked || int(right.Load()) != test.right || int(refused.Load()) != test.refused {
					t.Errorf("%d checked, %d right, %d refused; want %d, %d, %d", checked.Load(), right.Load(), refused.Load(), test.checked, test.right, test.refused)
				}
				if n := unauthenticated.Load(); n > limit {
					t.Errorf("%d guesses were answered", n)
				}
				if n := len(l.passwords.underway); n != 0 {
					t.Errorf("%d networks still try", n)
				}
				if err := login(t.Context(), "qwerty"); test.refused == 0 && err != nil {
					t.Errorf("the next login: %v", err)
				}
			})
		})
	}
}

func TestForwardedAddress(t *testing.T) {
	t.Parallel()
	l := New(Config{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	tests := []struct{ name, peer, header, want string }{
		{"no proxy", "192.0.2.1", "198.51.100.1", "192.0.2.1"},
		{"proxy", "10.0.0.1", "198.51.100.1", "198.51.100.1"},
		{"forged", "10.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"},
		{"two proxies", "10.0.0.1", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"nonsense", "10.0.0.1", "198.51.100.1, x", "10.0.0.1"},
		{"with a port", "10.0.0.1", "127.0.0.1:1, 198.51.100.1:4711", "198.51.100.1"},
		{"IPv6 with a port", "10.0.0.1", "[2001:db8::1]:4711, 10.0.0.2:80", "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1", "[2001:db8::1]", "2001:db8::1"},
		{"none", "10.0.0.1", "", "10.0.0.1"},
		{"Unix socket", "", "127.0.0.1, 198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"Unix socket, none", "", "", "invalid IP"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := http.Header{"X-Forwarded-For": {test.header}}
			peer, _ := netip.ParseAddr(test.peer) // a peer on a Unix socket has no address
			if got := l.forwarded(peer, h); got.String() != test.want {
				t.Errorf("%v, want %s", got, test.want)
			}
		})
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	handler := Hosts([]string{"chat.example"}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	tests := map[string]int{
		"localhost": 200, "localhost:65002": 200, "a.localhost:1": 200, "127.0.0.1:65002": 200, "[::1]:65002": 200, "[::1]": 200,
		"chat.example": 200, "Chat.example:80": 200, "evil.example": 403, "localhost.evil.example:65002": 403, "127.0.0.1.evil.example": 403,
	}
	for host, want := range tests {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d", host, w.Code)
		}
	}
}
