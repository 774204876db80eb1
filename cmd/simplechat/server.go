package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"log"
	"log/slog"
	"net/http"
	"slices"
	"strings"
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
	// Calls without credentials are neither decompressed nor read beyond a small size.
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
	mux.Handle(path, limits.Public(context.Background(), false, health)) // answered until the last connection ends
	mux.Handle(path+"Watch", limits.Public(front.left, false, health))
	if !c.NoPage {
		mux.Handle("/", web.Handler(web.WithMaxContent(int(c.MaxContent))))
	}

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(tlsConfig == nil)
	handler := limits.Handler(c.withCORS(mux))
	if c.Users == "" && !c.DemoUsers { // such a server is on loopback: see listen
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
			// The service's write deadline notices a closed flow-control
			// window. This one notices a connection that accepts no bytes.
			WriteByteTimeout: c.WriteDeadline,
		},
		ErrorLog: log.New(serverLog{logger}, "", 0),
	}
	return c.newHTTPServer(srv)
}

// serverLog receives the messages of net/http.
type serverLog struct{ *slog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	switch {
	case bytes.Contains(p, []byte("panic serving")):
		level = slog.LevelError
	case bytes.Contains(p, []byte("too many open files")):
		level = slog.LevelError // no client can connect
	case bytes.HasPrefix(p, []byte("http: TLS handshake error")), bytes.HasPrefix(p, []byte("http2: ")):
		level = slog.LevelDebug // caused by what strangers send
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
				chatsvc.HeaderHeartbeat, chatsvc.HeaderDuplicate, chatsvc.HeaderRetryAfter}),
		MaxAge: int((2 * time.Hour).Seconds()),
	})
}

// trusts returns a function that reports whether a call is allowed although it looks like
// one from a page of another site. It allows the listed origins, and this server's own page
// behind a trusted proxy, which calls the server by another name.
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
