package chatsvc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// The chat beside the handlers that the mux already has. The server speaks HTTP/1.1
// and h2c, so gRPC works too.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })

	svc, err := chatsvc.New()
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()
	mux.Handle(svc.Handler())

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	srv := &http.Server{
		Handler:           mux,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		HTTP2:             &http.HTTP2Config{SendPingTimeout: 20 * time.Second, WriteByteTimeout: 30 * time.Second},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = srv.Serve(listener) }()
	defer func() { _ = srv.Close() }()

	res, err := http.Post("http://"+listener.Addr().String()+chatconnect.SimpleChatSendMessageProcedure,
		"application/json", strings.NewReader(`{"content":"aGVsbG8=","type":"Text"}`))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	fmt.Println(res.Status) // nobody has logged in
	// Output: 401 Unauthorized
}

// Users of one's own, as they stand in a file.
func ExampleWithUsers() {
	users, err := chatsvc.ParseUsers([]byte(`{"users": [
		{"name": "ada", "password": "correct horse"},
		{"name": "bob", "password": "battery staple"}
	]}`))
	if err != nil {
		log.Fatal(err)
	}
	svc, err := chatsvc.New(chatsvc.WithUsers(users))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	fmt.Println(try(svc, http.Header{"User-Name": {"ada"}, "User-Password": {"correct horse"}}))
	fmt.Println(try(svc, http.Header{"User-Name": {"user1"}, "User-Password": {"qwerty"}}))
	// Output:
	// sent
	// unauthenticated: user name or password is wrong
}

// Bearer tokens replace the user database. Messages of a user get the name that the
// authenticator returns.
func ExampleWithAuthenticator() {
	tokens := map[string]chatsvc.User{"t0k3n": {Name: "ada"}}
	svc, err := chatsvc.New(chatsvc.WithAuthenticator(chatsvc.AuthenticatorFunc(
		func(_ context.Context, header http.Header) (chatsvc.User, error) {
			token, bearer := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
			user, known := tokens[token]
			if !bearer || !known {
				refused := connect.NewError(connect.CodeUnauthenticated, errors.New("the token is missing or not known"))
				refused.Meta().Set("WWW-Authenticate", "Bearer")
				return chatsvc.User{}, refused
			}
			return user, nil
		})))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	fmt.Println(try(svc, http.Header{"Authorization": {"Bearer t0k3n"}}))
	fmt.Println(try(svc, http.Header{"Authorization": {"Bearer other"}}))
	// Output:
	// sent
	// unauthenticated: the token is missing or not known
}

// countingLog is a log of one's own: here a MemoryLog that counts. Append and
// Follow are where a database would come in.
type countingLog struct {
	*chatsvc.MemoryLog

	appends atomic.Int64
}

// Append implements [chatsvc.Log].
func (l *countingLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	l.appends.Add(1)
	return l.MemoryLog.Append(ctx, record, key)
}

func ExampleWithLog() {
	counting := &countingLog{MemoryLog: chatsvc.NewMemoryLog(chatsvc.DefaultRetention())}
	svc, err := chatsvc.New(chatsvc.WithLog(counting))
	if err != nil {
		log.Fatal(err)
	}
	defer svc.Close()

	fmt.Println(try(svc, http.Header{"User-Name": {"user1"}, "User-Password": {"qwerty"}}), counting.appends.Load())
	// Output: sent 1
}

// A server that ends in good order: every stream gets its last messages and the
// code unavailable, then the connections close.
func ExampleService_Close() {
	svc, err := chatsvc.New()
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	srv.RegisterOnShutdown(svc.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { _ = srv.Serve(listener) }()

	client := chatconnect.NewSimpleChatClient(http.DefaultClient, "http://"+listener.Addr().String(),
		connect.WithInterceptors(setHeader{"User-Name": {"user1"}, "User-Password": {"qwerty"}}))
	stream, err := client.MessageList(context.Background(), &chatpb.None{})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	stream.Receive() // the first batch: connected

	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	go func() { _ = srv.Shutdown(ctx) }() // as on SIGTERM: see signal.NotifyContext

	for stream.Receive() {
	}
	fmt.Println(stream.Err())
	// Output: unavailable: the server is shutting down: call again
}

// try sends a message to svc over HTTP, with the credentials in header, and
// returns how that went.
func try(svc *chatsvc.Service, header http.Header) string {
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	return tryMux(mux, header)
}

// tryMux is try for a service in a mux.
func tryMux(mux *http.ServeMux, header http.Header) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err.Error()
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(listener) }()
	defer func() { _ = srv.Close() }()
	client := chatconnect.NewSimpleChatClient(http.DefaultClient, "http://"+listener.Addr().String(),
		connect.WithInterceptors(setHeader(header)))
	if _, err := client.SendMessage(context.Background(), &chatpb.ChatMessage{Content: []byte("hi")}); err != nil {
		return err.Error()
	}
	return "sent"
}
