package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/term"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/limit"
)

const (
	// shutdownTime bounds the end of the server after a signal: streams get
	// streamsTime of it to end with trailers.
	shutdownTime = 4 * time.Second
	streamsTime  = 3 * time.Second
	// openingTime is how long the log may take to open before that is logged.
	openingTime = 2 * time.Second
)

type serveCmd struct {
	Listen    string `default:"127.0.0.1:65002" placeholder:"HOST:PORT" help:"Address to listen on; port 0 picks one. Qt's example client dials the default (${default})."`
	Users     string `type:"path" placeholder:"FILE" help:"User database, which simplechat users makes and changes. It is read again when it changes and on SIGHUP. Without it: user1 to user5 with the password qwerty."`
	DemoUsers bool   `help:"Allow those five users on an address that is not loopback."`

	Storage storageFlags `embed:"" group:"storage"`

	History historyFlags `embed:"" group:"history"`

	Limits limitFlags `embed:"" group:"limits"`

	MaxContent    byteSize      `group:"limits" default:"1MiB" placeholder:"SIZE" help:"Largest text or image (${default}, at most 3008KiB)."`
	MaxStreams    uint32        `group:"limits" default:"250" placeholder:"N" help:"Calls at a time on one HTTP/2 connection (${default})."`
	Heartbeat     time.Duration `group:"limits" default:"25s" placeholder:"DURATION" help:"Silence after which a subscriber gets an empty batch, 0 for never (${default})."`
	WriteDeadline time.Duration `group:"limits" default:"30s" placeholder:"DURATION" help:"Time that a subscriber has to take a batch (${default})."`

	StdHTTP2   bool     `group:"web" name:"std-http2" env:"SIMPLECHAT_STD_HTTP2" help:"Serve HTTP/2 by Go's own implementation, which takes more memory and CPU: for the day on which this server's has a fault."`
	TLSCert    string   `group:"web" placeholder:"FILE" help:"Certificate chain in PEM. With it the server speaks TLS only."`
	TLSKey     string   `group:"web" placeholder:"FILE" help:"The certificate's key in PEM."`
	NoPage     bool     `group:"web" help:"Do not serve the chat page at /."`
	CORSOrigin []string `group:"web" placeholder:"ORIGIN" help:"Origin of a page that may call from a browser, such as https://chat.example.com; may be repeated. * is any."`

	LogFormat string     `group:"log" enum:"text,json" default:"text" placeholder:"FORMAT" help:"text or json (${default})."`
	LogLevel  slog.Level `group:"log" default:"info" placeholder:"LEVEL" help:"debug, info, warn or error (${default})."`
}

// Validate implements kong's hook: it names the flag that is out of range.
func (c *serveCmd) Validate() error {
	switch {
	case c.MaxContent < 1 || c.MaxContent > chatsvc.MaxContentCeiling:
		return fmt.Errorf("--max-content %d: it must be 1 to %d bytes", int64(c.MaxContent), chatsvc.MaxContentCeiling)
	case c.MaxStreams < 1:
		return errors.New("--max-streams 0: it must be at least 1")
	case c.Heartbeat < 0:
		return fmt.Errorf("--heartbeat %v: it must not be negative", c.Heartbeat)
	case c.WriteDeadline <= 0:
		return fmt.Errorf("--write-deadline %v: it must be positive", c.WriteDeadline)
	}
	return errors.Join(c.History.check(), c.Storage.check(), c.Limits.check(int64(c.MaxContent)))
}

// Run serves until ctx is done.
func (c *serveCmd) Run(ctx context.Context, out *cli.Output) error {
	defer runtime.KeepAlive(newHeapFloor())
	logger := c.newLogger(out.Stderr)
	// The log comes last: a mistake in any other flag leaves no directory behind.
	limits := c.Limits.limits(logger)
	options, err := c.serviceOptions(ctx, logger, limits)
	if err != nil {
		return err
	}
	tlsConfig, err := c.loadTLS()
	if err != nil {
		return err
	}
	listener, err := c.listen(ctx)
	if err != nil {
		return err
	}
	front := newFront()
	srv := c.newServer(front, limits, tlsConfig, logger)
	served := make(chan error, 1)
	go func() { served <- c.serve(srv, limits.Listener(quickACK(listener))) }()
	defer srv.Close() //nolint:errcheck // it is shut down by then, unless it never came to serve
	messages, closeLog, err := c.openLog(ctx, logger)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // it was told to end while it waited
		logger.Info("stopped")
		return nil
	}
	if err != nil {
		return err
	}
	defer closeLog() // when nobody sends any more
	svc, err := chatsvc.New(append(options, chatsvc.WithLog(messages))...)
	if err != nil {
		return err
	}
	defer svc.Close()
	front.open(svc, messages)
	logger.Info("listening", "addr", listener.Addr().String(), "tls", c.TLSCert != "", "version", cli.Version())
	if file, ok := out.Stderr.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		c.printHints(out.Stderr, listener.Addr().String())
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	logger.Info("shutting down")
	front.shutdown()
	shutdown(svc, srv, logger)
	logger.Info("stopped")
	return nil
}

// openLog opens the log, and tells when that takes long: calls are refused until
// then.
func (c *serveCmd) openLog(ctx context.Context, logger *slog.Logger) (chatsvc.Log, func(), error) {
	late := time.AfterFunc(openingTime, func() {
		logger.Warn("the log is not open yet: calls get unavailable, and health checks not serving")
	})
	defer late.Stop()
	return c.Storage.open(ctx, c.History.retention(c.Storage.Memory), int(c.MaxContent), logger)
}

func (c *serveCmd) newLogger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// serviceOptions returns what the flags say of the service, apart from its log.
func (c *serveCmd) serviceOptions(ctx context.Context, logger *slog.Logger, limits *limit.Limits) ([]chatsvc.Option, error) {
	authenticator, err := c.openUsers(ctx, logger)
	if err != nil {
		return nil, err
	}
	return []chatsvc.Option{
		chatsvc.WithReplay(c.History.replay()),
		chatsvc.WithHotBytes(int64(c.History.HotBytes)),
		chatsvc.WithColdBytes(int64(c.History.ColdBytes)),
		chatsvc.WithMaxContent(int(c.MaxContent)),
		chatsvc.WithBodyBytes(int64(c.Limits.BodyBytes)),
		chatsvc.WithPendingBytes(int64(c.Limits.PendingBytes)),
		chatsvc.WithHandlerOptions(connect.WithInterceptors(limits)),
		chatsvc.WithTrustedRequests(c.trusts()),
		chatsvc.WithHeartbeat(c.Heartbeat),
		chatsvc.WithWriteDeadline(c.WriteDeadline),
		chatsvc.WithLogger(logger),
		chatsvc.WithAuthenticator(limits.Authenticator(authenticator)),
	}, nil
}

// listen opens the address, unless the demo users would be open to a network.
func (c *serveCmd) listen(ctx context.Context) (net.Listener, error) {
	if c.Listen == "" {
		return nil, errors.New("--listen is empty: give HOST:PORT")
	}
	addr, err := net.ResolveTCPAddr("tcp", c.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: %w", c.Listen, err)
	}
	if c.Users == "" && !c.DemoUsers && !addr.IP.IsLoopback() {
		return nil, fmt.Errorf("--listen %q is not loopback, and everybody knows the demo users' password: give --users FILE, or --demo-users to allow it", c.Listen)
	}
	var config net.ListenConfig
	// Multipath TCP sockets know neither TCP_QUICKACK nor most of what tells
	// how a connection fares, and no chat client uses them.
	config.SetMultipathTCP(false)
	listener, err := config.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("--listen: %w", err)
	}
	return listener, nil
}

func (c *serveCmd) serve(srv httpServer, listener net.Listener) error {
	return srv.Serve(listener)
}

// shutdown ends every stream with trailers, then the connections, then, after
// shutdownTime, whatever is left.
func shutdown(svc *chatsvc.Service, srv httpServer, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	drained, stop := context.WithTimeout(ctx, streamsTime)
	defer stop()
	if err := svc.Shutdown(drained); err != nil {
		logger.Warn("streams left that take no data")
	}
	if err := srv.Shutdown(ctx); err != nil {
		logger.Warn("connections left", "error", err)
		_ = srv.Close()
	}
}

func (c *serveCmd) loadTLS() (*tls.Config, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil //nolint:nilnil // no TLS is no error
	}
	if c.TLSCert == "" || c.TLSKey == "" {
		return nil, errors.New("--tls-cert and --tls-key belong together: give both")
	}
	certificate, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert, --tls-key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}, nil
}

// printHints shows how to try the server that listens on addr.
func (c *serveCmd) printHints(w io.Writer, addr string) {
	user, scheme := "user1:qwerty", "http"
	if c.Users != "" {
		user = "NAME:PASSWORD"
	}
	if c.TLSCert != "" {
		scheme = "https"
	}
	base := scheme + "://" + addr + "/qtgrpc.examples.chat.SimpleChat"
	fmt.Fprintf(w, `
Watch the conversation:
  curl -N -u %[1]s -H 'Content-Type: application/json' -d '{}' %[2]s/messageList
Send a message ("aGVsbG8=" is the base64 of "hello"):
  curl -u %[1]s -H 'Content-Type: application/json' -d '{"content":"aGVsbG8=","type":"Text"}' %[2]s/sendMessage

`, user, base)
}
