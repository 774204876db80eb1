package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"connectrpc.com/connect"
	connectcors "connectrpc.com/cors"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"github.com/rs/cors"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/simplechat/internal/limit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
	"example.com/simplechat/web"
)

const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 3 * time.Minute
	maxHeaderBytes    = 16 << 10
	// A peer that has been silent for pingAfter and does not answer a ping
	// within pingTimeout is dead.
	pingAfter   = 20 * time.Second
	pingTimeout = 10 * time.Second
	// maxUtilityBytes is the largest request to the reflection and health
	// services.
	maxUtilityBytes = 64 << 10
)

// newServer returns the HTTP server, which speaks HTTP/1.1 and HTTP/2, in plain text
// (h2c with prior knowledge) or over TLS. It refuses calls until front is given a
// service.
func (c *serveCmd) newServer(front *front, limits *limit.Limits, tlsConfig *tls.Config, logger *slog.Logger) httpServer {
	// What anybody may call without credentials neither inflates nor reads much.
	utility := connect.WithHandlerOptions(
		connect.WithCompression("gzip", nil, nil),
		connect.WithReadMaxBytes(maxUtilityBytes),
	)
	reflector := grpcreflect.NewStaticReflector(chatconnect.SimpleChatName, grpchealth.HealthV1ServiceName)
	mux := http.NewServeMux()
	mux.Handle("/"+chatconnect.SimpleChatName+"/", front)
	reflect := func(path string, handler http.Handler) {
		mux.Handle(path, limits.Public(front.ending, true, handler))
	}
	reflect(grpcreflect.NewHandlerV1(reflector, utility))
	reflect(grpcreflect.NewHandlerV1Alpha(reflector, utility))
	path, health := grpchealth.NewHandler(front, utility)
	mux.Handle(path, limits.Public(context.Background(), false, health))
	if !c.NoPage {
		mux.Handle("/", web.Handler(web.WithMaxContent(int(c.MaxContent))))
	}

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(tlsConfig == nil)
	handler := limits.Handler(c.withCORS(mux))
	if c.Users == "" && !c.DemoUsers { // on loopback: see listen
		handler = limit.Hosts(c.Limits.AllowHost, handler)
	}
	srv := &http.Server{
		Handler:           handler,
		Protocols:         protocols,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: int(c.MaxStreams),
			SendPingTimeout:      pingAfter,
			PingTimeout:          pingTimeout,
			// The service's own write deadline sees a closed flow-control
			// window; this one sees a connection that takes no bytes.
			WriteByteTimeout: c.WriteDeadline,
		},
		ErrorLog: log.New(serverLog{logger}, "", 0),
	}
	return c.newHTTPServer(srv)
}

// serverLog is where net/http logs.
type serverLog struct{ *slog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	switch {
	case bytes.Contains(p, []byte("panic serving")):
		level = slog.LevelError
	case bytes.Contains(p, []byte("too many open files")):
		level = slog.LevelError // nobody can connect
	case bytes.HasPrefix(p, []byte("http: TLS handshake error")), bytes.HasPrefix(p, []byte("http2: ")):
		level = slog.LevelDebug // what strangers send
	}
	l.Log(context.Background(), level, "http server", "text", strings.TrimSpace(string(p)))
	return len(p), nil
}

// withCORS lets pages of the listed origins call (Fetch standard, "CORS
// protocol").
func (c *serveCmd) withCORS(h http.Handler) http.Handler {
	if len(c.CORSOrigin) == 0 {
		return h
	}
	return c.cors().Handler(h)
}

func (c *serveCmd) cors() *cors.Cors {
	return cors.New(cors.Options{
		AllowedOrigins: c.CORSOrigin,
		AllowedMethods: connectcors.AllowedMethods(),
		AllowedHeaders: append(connectcors.AllowedHeaders(),
			"Authorization", chatsvc.HeaderUserName, chatsvc.HeaderUserPassword, chatsvc.HeaderLastEventID,
			chatsvc.HeaderOffset, chatsvc.HeaderEpoch, chatsvc.HeaderUntil, chatsvc.HeaderIdempotencyKey),
		ExposedHeaders: slices.Concat(connectcors.ExposedHeaders(),
			[]string{chatsvc.HeaderOffset, chatsvc.HeaderEpoch, chatsvc.HeaderUntil, chatsvc.HeaderReset,
				chatsvc.HeaderHeartbeat, chatsvc.HeaderDuplicate}),
		MaxAge: int((2 * time.Hour).Seconds()),
	})
}

// trusts returns what lets calls through that look like those of a page of another
// site: those of the listed origins, and those of this server's own page behind a trusted
// proxy, which calls the server by a name that the page does not know.
func (c *serveCmd) trusts() func(*http.Request) bool {
	isAny, listed := slices.Contains(c.CORSOrigin, "*"), len(c.CORSOrigin) > 0
	origins, protection := c.cors(), http.NewCrossOriginProtection()
	return func(r *http.Request) bool {
		if isAny || listed && r.Header.Get("Origin") != "" && origins.OriginAllowed(r) {
			return true
		}
		host := limit.ForwardedHost(r.Context())
		if host == "" || r.Method == http.MethodGet {
			return false
		}
		asked := *r
		asked.Host = host
		return protection.Check(&asked) == nil
	}
}

// front is the service as the server sees it: not there before its log is open. It
// tells health checks whether messages can be stored. It is safe for concurrent use.
type front struct {
	*grpchealth.StaticChecker

	opened atomic.Pointer[openService] // nil before the log is open
	data   string                      // directory of the log's files; empty: none
	ending context.Context             //nolint:containedctx // done when the server ends: reflection's streams end then
	end    context.CancelFunc
}

// openService is a service and its log.
type openService struct {
	service *chatsvc.Service
	handler http.Handler
	log     chatsvc.Log
}

var _ grpchealth.Checker = (*front)(nil)

func newFront() *front {
	f := &front{StaticChecker: grpchealth.NewStaticChecker("", chatconnect.SimpleChatName)}
	f.ending, f.end = context.WithCancel(context.Background())
	return f
}

// open lets calls through to svc.
func (f *front) open(svc *chatsvc.Service, log chatsvc.Log) {
	_, handler := svc.Handler()
	f.opened.Store(&openService{svc, handler, log})
}

// ServeHTTP implements [http.Handler].
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if opened := f.opened.Load(); opened != nil {
		opened.handler.ServeHTTP(w, r)
		return
	}
	text := "the server is starting, its messages cannot be reached yet: call again"
	if errorWriter := connect.NewErrorWriter(); errorWriter.IsSupported(r) {
		_ = errorWriter.Write(w, r, connect.NewError(connect.CodeUnavailable, errors.New(text)))
		return
	}
	http.Error(w, text, http.StatusServiceUnavailable)
}

// Check implements [grpchealth.Checker]: while no message can be stored, the answer
// is "not serving".
func (f *front) Check(ctx context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	res, err := f.StaticChecker.Check(ctx, req)
	if err != nil {
		return nil, err
	}
	if len(f.reasons()) > 0 {
		res.Status = grpchealth.StatusNotServing
	}
	return res, nil
}

// reasons returns why the server is not ready, nothing if it is.
func (f *front) reasons() []string {
	if f.ending.Err() != nil {
		return []string{"the server is ending"}
	}
	opened := f.opened.Load()
	if opened == nil {
		return []string{"the log is not open yet"}
	}
	if log, ok := opened.log.(interface{ Err() error }); ok {
		if err := log.Err(); err != nil {
			return []string{"the log cannot store messages: " + err.Error()}
		}
	}
	return nil
}

// shutdown makes every check answer "not serving", and ends reflection's
// streams.
func (f *front) shutdown() {
	f.end()
	for _, service := range []string{"", chatconnect.SimpleChatName} {
		f.SetStatus(service, grpchealth.StatusNotServing)
	}
}
