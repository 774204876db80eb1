package chatsvc_test

import (
	"context"
	"crypto/tls"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/h2"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// patience is how long a test waits for what must happen. Nothing asserts that
// it happens faster.
const patience = 120 * time.Second

// transport is how a client reaches a server.
type transport struct {
	name  string
	http2 bool
	tls   bool
	own   bool // HTTP/2 is package h2's, not net/http's
}

var transports = []transport{
	{name: "http1"},
	{name: "h2c", http2: true},
	{name: "tls", http2: true, tls: true},
	{name: "own-h2c", http2: true, own: true},
	{name: "own-tls", http2: true, tls: true, own: true},
}

// h2cTransports are those that a client of Qt's may meet.
var h2cTransports = []transport{transports[1], transports[3]}

// wireProtocol is how a call looks on the wire.
type wireProtocol struct {
	name       string
	options    []connect.ClientOption
	needsHTTP2 bool
	isText     bool // gRPC-Web in base64
}

var wireProtocols = []wireProtocol{
	{name: "connect"},
	{name: "connect+json", options: []connect.ClientOption{connect.WithProtoJSON()}},
	{name: "grpc", options: []connect.ClientOption{connect.WithGRPC()}, needsHTTP2: true},
	{name: "grpc+json", options: []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}, needsHTTP2: true},
	{name: "grpc-web", options: []connect.ClientOption{connect.WithGRPCWeb()}},
	{name: "grpc-web-text", options: []connect.ClientOption{connect.WithGRPCWeb()}, isText: true},
	{name: "grpc-web+json", options: []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}},
}

// forEachFace runs test once for every protocol over every transport that it
// exists for, each with a server of its own.
func forEachFace(t *testing.T, test func(t *testing.T, f face), opts ...chatsvc.Option) {
	t.Helper()
	for _, protocol := range wireProtocols {
		for _, transport := range transports {
			if protocol.needsHTTP2 && !transport.http2 {
				continue
			}
			t.Run(protocol.name+"/"+transport.name, func(t *testing.T) {
				t.Parallel()
				svc := newService(t, opts...)
				path, handler := svc.Handler()
				mux := http.NewServeMux()
				mux.Handle(path, handler)
				test(t, face{
					service:  svc,
					server:   newServer(t, mux, transport),
					protocol: protocol,
				})
			})
		}
	}
}

// face is one way to talk to a server of a test's own.
type face struct {
	service  *chatsvc.Service
	server   *server
	protocol wireProtocol
}

// as returns a client on a connection of its own that sends name and password
// as Qt does.
func (f face) as(tb testing.TB, name, password string) chatconnect.SimpleChatClient {
	tb.Helper()
	return f.with(tb, http.Header{"User-Name": {name}, "User-Password": {password}})
}

// with returns a client on a connection of its own that sends header with
// every call.
func (f face) with(tb testing.TB, header http.Header) chatconnect.SimpleChatClient {
	tb.Helper()
	options := append([]connect.ClientOption{connect.WithInterceptors(setHeader(header))}, f.protocol.options...)
	client := f.server.newClient(tb)
	if f.protocol.isText {
		client.Transport = webTextTransport{client.Transport}
	}
	return chatconnect.NewSimpleChatClient(client, f.server.url, options...)
}

// setHeader is a client's interceptor that sends a header.
type setHeader http.Header

func (h setHeader) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		maps.Copy(req.Header(), h)
		return next(ctx, req)
	}
}

func (h setHeader) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		maps.Copy(conn.RequestHeader(), h)
		return conn
	}
}

func (setHeader) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// newService returns a service that is closed with the test.
func newService(tb testing.TB, opts ...chatsvc.Option) *chatsvc.Service {
	tb.Helper()
	svc, err := chatsvc.New(append([]chatsvc.Option{chatsvc.WithLogger(nosecret.Logger(tb))}, opts...)...)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(svc.Close)
	return svc
}

// server is an HTTP server on loopback.
type server struct {
	url       string
	addr      string
	transport transport
	tls       *tls.Config // a client's, if the transport has it
	http      *http.Server
	shutdown  func(context.Context) error // of http, or of what serves instead
}

// newServer serves h over t until the test ends.
func newServer(tb testing.TB, h http.Handler, t transport) *server {
	tb.Helper()
	ts := httptest.NewUnstartedServer(h)
	ts.Config.Protocols = new(http.Protocols)
	ts.Config.Protocols.SetHTTP1(true)
	ts.Config.Protocols.SetHTTP2(true)
	ts.Config.Protocols.SetUnencryptedHTTP2(!t.tls)
	ts.Config.HTTP2 = &http.HTTP2Config{WriteByteTimeout: 10 * time.Second}
	s := &server{transport: t, addr: ts.Listener.Addr().String(), http: ts.Config, shutdown: ts.Config.Shutdown}
	var own *h2.Server
	if t.own {
		own = h2.New(ts.Config)
		s.shutdown = own.Shutdown
		tb.Cleanup(func() { _ = own.Close() })
	}
	if t.own && !t.tls {
		go func() { _ = own.Serve(ts.Listener) }()
		s.url = "http://" + s.addr
		return s
	}
	if t.tls {
		ts.EnableHTTP2 = true
		ts.StartTLS()
		s.tls = ts.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	} else {
		ts.Start()
	}
	s.url = ts.URL
	tb.Cleanup(func() {
		_ = ts.Config.Close()
		ts.Close()
	})
	return s
}

// newClient returns a client that shares no connection with another.
func (s *server) newClient(tb testing.TB) *http.Client {
	tb.Helper()
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!s.transport.http2)
	protocols.SetHTTP2(s.transport.http2 && s.transport.tls)
	protocols.SetUnencryptedHTTP2(s.transport.http2 && !s.transport.tls)
	rt := &http.Transport{Protocols: protocols, TLSClientConfig: s.tls.Clone(), DialContext: (&net.Dialer{}).DialContext}
	tb.Cleanup(rt.CloseIdleConnections)
	return &http.Client{Transport: rt}
}

// text returns a message of the type Text.
func text(content string) *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text}
}

// send sends msg and fails the test if the server refuses it.
func send(ctx context.Context, tb testing.TB, client chatconnect.SimpleChatClient, msg *chatpb.ChatMessage) {
	tb.Helper()
	if _, err := client.SendMessage(ctx, msg); err != nil {
		tb.Fatalf("send: %v", err)
	}
}

// contains reports whether err's text contains part.
func contains(err error, part string) bool {
	return err != nil && strings.Contains(err.Error(), part)
}
