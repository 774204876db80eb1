package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/term"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/limit"
	"example.com/simplechat/cmd/simplechat/internal/login"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
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
	Listen    []string `default:"127.0.0.1:65002" placeholder:"ADDRESS" help:"HOST:PORT to listen on, or unix:PATH; port 0 picks one; may be repeated. Sockets that systemd hands over take its place. Qt's example client dials the default (${default})."`
	Users     string   `type:"path" placeholder:"FILE" help:"User database, which simplechat users makes and changes. It is read again when it changes and on SIGHUP. Without it: user1 to user5 with the password qwerty."`
	DemoUsers bool     `help:"Allow those five users on an address that is not loopback."`

	Storage storageFlags `embed:"" group:"storage"`

	History historyFlags `embed:"" group:"history"`

	Limits limitFlags `embed:"" group:"limits"`

	MaxContent    byteSize      `group:"limits" default:"1MiB" placeholder:"SIZE" help:"Largest text or image (${default}, at most 3008KiB)."`
	MaxStreams    uint32        `group:"limits" default:"250" placeholder:"N" help:"Calls at a time on one HTTP/2 connection (${default})."`
	Heartbeat     time.Duration `group:"limits" default:"25s" placeholder:"DURATION" help:"Silence after which a subscriber gets an empty batch, 0 for never (${default})."`
	WriteDeadline time.Duration `group:"limits" default:"30s" placeholder:"DURATION" help:"Time that a subscriber has to take a batch (${default})."`

	TLS tlsFlags `embed:"" group:"web"`

	StdHTTP2   bool     `group:"web" name:"std-http2" env:"SIMPLECHAT_STD_HTTP2" help:"Serve HTTP/2 by Go's own implementation, which takes more memory and CPU: for the day on which this server's has a fault."`
	NoPage     bool     `group:"web" help:"Do not serve the chat page at /."`
	CORSOrigin []string `group:"web" placeholder:"ORIGIN" help:"Origin of a page that may call from a browser, such as https://chat.example.com; may be repeated. * is any."`

	Ops opsFlags `embed:"" group:"ops"`

	Drain drainFlags `embed:"" group:"ops"`

	PrintConfig bool `group:"ops" help:"Print each flag with its value, without passwords, and where that comes from; then exit."`

	LogFormat string     `group:"log" enum:"auto,text,json" default:"auto" placeholder:"FORMAT" help:"text, json, or auto: text on a terminal, and json elsewhere (${default})."`
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
	for _, origin := range c.CORSOrigin {
		if err := checkOrigin(origin); err != nil {
			return err
		}
	}
	return errors.Join(c.History.check(), c.Storage.check(), c.Limits.check(int64(c.MaxContent)), c.Drain.check())
}

// fill gives the flags that have no value the ones with which the server would run.
func (c *serveCmd) fill() {
	kept := c.History.retention(c.Storage.Memory)
	c.History.RetainMessages, c.History.RetainAge = &kept.Messages, &kept.Age
	c.History.RetainBytes = new(byteSize(kept.Bytes))
	s := &c.Storage
	s.Data = s.directory()
	s.NATSStream, s.NATSReplicas = cmp.Or(s.NATSStream, defaultStream), cmp.Or(s.NATSReplicas, defaultReplicas)
	c.TLS.ACMECache = c.TLS.acmeCache()
	c.Ops.OpsListen = cmp.Or(c.Ops.OpsListen, defaultOps)
}

// Run serves until ctx is done.
func (c *serveCmd) Run(ctx context.Context, parsed *kong.Context, out *cli.Output) error {
	if c.PrintConfig {
		c.fill()
		return printConfig(out.Stdout, parsed)
	}
	defer runtime.KeepAlive(newHeapFloor())
	signal.Ignore(syscall.SIGPIPE) // the log's reader may end before the server
	logger := c.newLogger(out.Stderr)
	r, err := c.prepare(ctx, logger)
	if err != nil {
		return err
	}
	defer r.close()
	c.Storage.onCommit = func(took time.Duration) { r.metrics.commits.Observe(took.Seconds()) }
	messages, closeLog, err := c.openLog(ctx, logger)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) { // a signal came while the log was being opened
		logger.Info("stopped")
		return nil
	}
	if err != nil {
		return err
	}
	defer closeLog() // after the last send
	svc, err := chatsvc.New(append(r.options, chatsvc.WithLog(messages))...)
	if err != nil {
		return err
	}
	defer svc.Close()
	r.front.open(svc, messages)
	c.Ops.report(r.ops, logger)
	for _, l := range r.listeners {
		logger.Info("listening", "addr", l.Addr().String(), "tls", c.TLS.isOn(), "version", cli.Version())
	}
	if first := r.listeners[0].Addr(); isTerminal(out.Stderr) && first.Network() == "tcp" {
		c.printHints(out.Stderr, first.String())
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady) // does nothing unless systemd waits for it
	select {
	case err := <-r.served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	logger.Info("shutting down")
	r.front.shutdown()
	c.Drain.drain(svc, logger)
	r.front.leave()
	shutdown(svc, r.http, logger)
	logger.Info("stopped")
	return nil
}

// openLog opens the log. It logs a warning if that takes long, because calls are refused
// until the log is open.
func (c *serveCmd) openLog(ctx context.Context, logger *slog.Logger) (chatsvc.Log, func(), error) {
	late := time.AfterFunc(openingTime, func() {
		logger.Warn("the log is not open yet: calls get unavailable, and health checks not serving")
	})
	defer late.Stop()
	return c.Storage.open(ctx, c.History.retention(c.Storage.Memory), int(c.MaxContent), logger)
}

func (c *serveCmd) newLogger(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "json" || c.LogFormat == "auto" && !isTerminal(w) {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// serviceOptions returns the service's options from the flags, without the log.
func (c *serveCmd) serviceOptions(ctx context.Context, logger *slog.Logger, limits *limit.Limits, m *metrics) ([]chatsvc.Option, error) {
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
		chatsvc.WithHandlerOptions(limits.Option()),
		chatsvc.WithTrustedRequests(c.trusts()),
		chatsvc.WithHeartbeat(c.Heartbeat),
		chatsvc.WithWriteDeadline(c.WriteDeadline),
		chatsvc.WithLogger(logger),
		chatsvc.WithAuthenticator(m.authenticator(limits.Authenticator(authenticator))),
		chatsvc.WithAppendObserver(m.observeAppend),
		chatsvc.WithLimitObserver(limits.Observe),
	}, nil
}

// shutdown ends every stream with trailers, and then the connections. After shutdownTime
// it closes the rest.
func shutdown(svc *chatsvc.Service, srv httpServer, logger *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	drained, stop := context.WithTimeout(ctx, streamsTime)
	defer stop()
	if err := svc.Shutdown(drained); err != nil {
		logger.Warn("some streams did not end in time: their clients read no data")
	}
	if err := srv.Shutdown(ctx); err != nil {
		logger.Warn("connections left", "error", err)
		_ = srv.Close()
	}
}

// printHints shows in three lines how to try the server that listens on addr.
func (c *serveCmd) printHints(w io.Writer, addr string) {
	user, scheme, server := "user1:qwerty", "http", ""
	if c.Users != "" {
		user = "NAME" // curl asks for the password
	}
	if c.TLS.isOn() {
		scheme = "https"
	}
	base := scheme + "://" + addr
	if base != login.DefaultServer {
		server = " --server " + base
	}
	page := base + "/"
	if c.NoPage {
		page = "off (--no-page)"
	}
	fmt.Fprintf(w, `
  Page:      %s
  Terminal:  simplechat chat%s
  curl:      curl -u %s -d hello %s%s

`, page, server, user, base, chatconnect.SimpleChatSendMessageProcedure)
}
