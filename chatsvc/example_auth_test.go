package chatsvc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"github.com/golang-jwt/jwt/v5"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// JSON Web Tokens that another service has signed. The algorithm, the audience and an
// expiry are asked for: a token without them is good for more than was meant.
func ExampleWithAuthenticator_jwt() {
	key := bytes.Repeat([]byte("k"), 32) // shared with the service that logs users in
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithAudience("chat"),
		jwt.WithExpirationRequired(),
	)
	authenticate := func(_ context.Context, header http.Header) (chatsvc.User, error) {
		text, _ := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
		claims := &jwt.RegisteredClaims{}
		_, err := parser.ParseWithClaims(text, claims, func(*jwt.Token) (any, error) { return key, nil })
		if err != nil {
			refused := connect.NewError(connect.CodeUnauthenticated, errors.New("the token is missing, expired or not for this chat"))
			refused.Meta().Set("WWW-Authenticate", `Bearer realm="chat"`)
			return chatsvc.User{}, refused
		}
		return chatsvc.User{Name: claims.Subject}, nil
	}
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(chatsvc.AuthenticatorFunc(authenticate)))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	sign := func(audience string, expires time.Time) http.Header {
		token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
			Subject: "ada", Audience: jwt.ClaimStrings{audience}, ExpiresAt: jwt.NewNumericDate(expires),
		})
		text, err := token.SignedString(key)
		if err != nil {
			log.Fatal(err)
		}
		return http.Header{"Authorization": {"Bearer " + text}}
	}
	fmt.Println(try(svc, sign("chat", time.Now().Add(time.Hour))))
	fmt.Println(try(svc, sign("chat", time.Now().Add(-time.Hour))))
	fmt.Println(try(svc, sign("mail", time.Now().Add(time.Hour))))
	// Output:
	// sent
	// unauthenticated: the token is missing, expired or not for this chat
	// unauthenticated: the token is missing, expired or not for this chat
}

// headerUser is where the proxy says who is logged in.
const headerUser = "X-Forwarded-User"

// fromProxy removes what only the proxy may say from the requests of everyone else.
func fromProxy(proxy netip.Prefix, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !proxy.Contains(peer.Addr().Unmap()) {
			r = r.Clone(r.Context())
			r.Header.Del(headerUser)
		}
		next.ServeHTTP(w, r)
	})
}

// A proxy that logs users in, and says in a header who is calling. The header of
// anyone else is not believed: [http.Request.RemoteAddr] tells who it is from.
func ExampleWithAuthenticator_proxy() {
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(chatsvc.AuthenticatorFunc(
		func(_ context.Context, header http.Header) (chatsvc.User, error) {
			name := header.Values(headerUser)
			if len(name) != 1 || name[0] == "" {
				return chatsvc.User{}, connect.NewError(connect.CodeUnauthenticated, errors.New("log in at the proxy"))
			}
			return chatsvc.User{Name: name[0]}, nil
		})))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	for _, proxy := range []string{"127.0.0.0/8", "192.0.2.7/32"} {
		path, handler := svc.Handler()
		mux := http.NewServeMux()
		mux.Handle(path, fromProxy(netip.MustParsePrefix(proxy), handler))
		fmt.Println(tryMux(mux, http.Header{headerUser: {"ada"}}))
	}
	// Output:
	// sent
	// unauthenticated: log in at the proxy
}

// Other handlers can require the same users: here the health service, which would
// otherwise answer everyone. The reasons of internal errors are logged.
func ExampleAuthInterceptor() {
	authenticator, err := chatsvc.NewUserAuthenticator(chatsvc.DemoUsers())
	if err != nil {
		log.Fatal(err)
	}
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(authenticator))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()
	auth := chatsvc.NewAuthInterceptor(authenticator,
		chatsvc.WithAuthLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))

	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	mux.Handle(grpchealth.NewHandler(grpchealth.NewStaticChecker(), auth.Option()))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(listener) }()
	defer func() { _ = srv.Close() }()
	for _, password := range []string{"qwerty", "wrong"} {
		req, err := http.NewRequest(http.MethodPost, "http://"+listener.Addr().String()+"/grpc.health.v1.Health/Check", strings.NewReader("{}"))
		if err != nil {
			log.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.SetBasicAuth("user1", password)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		_ = res.Body.Close()
		fmt.Println(res.Status)
	}
	// Output:
	// 200 OK
	// 401 Unauthorized
}

// sessions are those who are logged in, by a secret that each client has.
type sessions struct {
	mu   sync.Mutex // guards all below
	open map[string]chatsvc.User
	ends map[string]chan struct{}
}

func newSessions() *sessions {
	return &sessions{open: make(map[string]chatsvc.User), ends: make(map[string]chan struct{})}
}

// login begins a session.
func (s *sessions) login(name string) (secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret, end := rand.Text(), make(chan struct{})
	s.open[secret], s.ends[secret] = chatsvc.User{Name: name, Revoked: end}, end
	return secret
}

// logout ends a session, and with it its streams.
func (s *sessions) logout(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ends[secret])
	delete(s.open, secret)
	delete(s.ends, secret)
}

// Authenticate implements [chatsvc.Authenticator].
func (s *sessions) Authenticate(_ context.Context, header http.Header) (chatsvc.User, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	user, ok := s.open[header.Get("Session")]
	if !ok {
		return chatsvc.User{}, connect.NewError(connect.CodeUnauthenticated, errors.New("the session has ended: log in again"))
	}
	return user, nil
}

// Sessions that end: so do the streams that were opened in them.
func ExampleUser() {
	sessions := newSessions()
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(sessions))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(listener) }()
	defer func() { _ = srv.Close() }()

	secret := sessions.login("ada")
	client := chatconnect.NewSimpleChatClient(http.DefaultClient, "http://"+listener.Addr().String(),
		connect.WithInterceptors(setHeader{"Session": {secret}}))
	stream, err := client.MessageList(context.Background(), &chatpb.None{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	stream.Receive() // the first batch: connected

	sessions.logout(secret)
	for stream.Receive() {
	}
	fmt.Println(connect.CodeOf(stream.Err()))
	_, err = client.SendMessage(context.Background(), &chatpb.ChatMessage{Content: []byte("hi")})
	fmt.Println(err)
	// Output:
	// unauthenticated
	// unauthenticated: the session has ended: log in again
}
