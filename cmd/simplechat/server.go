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
	"example.com/simplechat/chatsvc/h2"
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

// newServer returns the HTTP server around svc, which speaks HTTP/1.1 and
// HTTP/2, in plain text (h2c with prior knowledge) or over TLS.
func (c *serveCmd) newServer(svc *chatsvc.Service, messages chatsvc.Log, tlsConfig *tls.Config, logger *slog.Logger) (*h2.Server, *readiness) {
	// What anybody may call without credentials neither inflates nor reads much.
	utility := connect.WithHandlerOptions(
		connect.WithCompression("gzip", nil, nil),
		connect.WithReadMaxBytes(maxUtilityBytes),
	)
	ready := newReadiness(messages)
	reflector := grpcreflect.NewStaticReflector(chatconnect.SimpleChatName, grpchealth.HealthV1ServiceName)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	mux.Handle(grpcreflect.NewHandlerV1(reflector, utility))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, utility))
	mux.Handle(grpchealth.NewHandler(ready, utility))
	if !c.NoPage {
		mux.Handle("/", web.Handler(web.WithMaxContent(int(c.MaxContent))))
	}

	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(tlsConfig == nil)
	srv := &http.Server{
		Handler:           c.withCORS(mux),
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
	return h2.New(srv), ready
}

// serverLog is where net/http logs.
type serverLog struct{ *slog.Logger }

// Write implements [io.Writer].
func (l serverLog) Write(p []byte) (int, error) {
	level := slog.LevelWarn
	switch {
	case bytes.Contains(p, []byte("panic serving")):
		level = slog.LevelError
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
	return cors.New(cors.Options{
		AllowedOrigins: c.CORSOrigin,
		AllowedMethods: connectcors.AllowedMethods(),
		AllowedHeaders: append(connectcors.AllowedHeaders(),
			"Authorization", chatsvc.HeaderUserName, chatsvc.HeaderUserPassword,
			chatsvc.HeaderOffset, chatsvc.HeaderEpoch, chatsvc.HeaderIdempotencyKey),
		ExposedHeaders: slices.Concat(connectcors.ExposedHeaders(),
			[]string{chatsvc.HeaderOffset, chatsvc.HeaderEpoch, chatsvc.HeaderDuplicate}),
		MaxAge: int((2 * time.Hour).Seconds()),
	}).Handler(h)
}

// readiness is what gRPC health checks see.
type readiness struct {
	*grpchealth.StaticChecker

	log chatsvc.Log
}

var _ grpchealth.Checker = (*readiness)(nil)

func newReadiness(log chatsvc.Log) *readiness {
	return &readiness{grpchealth.NewStaticChecker("", chatconnect.SimpleChatName), log}
}

// Check implements [grpchealth.Checker]: while the log cannot store messages,
// the answer is "not serving".
func (r *readiness) Check(ctx context.Context, req *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	res, err := r.StaticChecker.Check(ctx, req)
	if err != nil {
		return nil, err
	}
	if log, ok := r.log.(interface{ Err() error }); ok && log.Err() != nil {
		res.Status = grpchealth.StatusNotServing
	}
	return res, nil
}

// shutdown makes every check answer "not serving".
func (r *readiness) shutdown() {
	for _, service := range []string{"", chatconnect.SimpleChatName} {
		r.SetStatus(service, grpchealth.StatusNotServing)
	}
}
