package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/simplechat/internal/limit"
)

// running is a server that accepts connections. It refuses calls until front has a
// service.
type running struct {
	front     *front
	metrics   *metrics
	options   []chatsvc.Option // options of the service, without its log
	listeners []net.Listener
	ops       net.Listener // for the pages for operators; nil: none
	pages     http.Handler // the pages for operators
	http      httpServer
	served    chan error // the error that ended serving a listener
	stop      context.CancelFunc
	endTraces func()
}

// prepare does everything that is possible before the log is open. The log is opened last,
// so that a mistake in another flag leaves no directory behind.
func (c *serveCmd) prepare(ctx context.Context, logger *slog.Logger) (*running, error) {
	r := &running{front: newFront(), metrics: newMetrics()}
	r.front.data = c.Storage.directory()
	files := new(reloader)
	limits := c.Limits.limits(logger)
	var err error
	if r.options, err = c.serviceOptions(ctx, logger, limits, r.metrics); err != nil {
		return nil, err
	}
	var interceptor connect.Interceptor
	if interceptor, r.endTraces, err = tracing(ctx, logger); err != nil {
		return nil, err
	}
	tlsConfig, err := c.TLS.load(files, logger)
	if err != nil {
		return nil, err
	}
	if r.listeners, err = c.listen(ctx, logger); err != nil {
		return nil, err
	}
	if r.ops, err = c.Ops.listen(ctx); err != nil {
		closeAll(r.listeners)
		return nil, err
	}
	if r.ops != nil {
		r.pages = c.Ops.guard(r.ops, c.Limits.AllowHost, newOpsHandler(r.front, r.metrics))
	}
	r.metrics.collectFrom(r.front, limits)
	if interceptor != nil {
		r.options = append(r.options, chatsvc.WithHandlerOptions(connect.WithInterceptors(interceptor)))
	}
	r.http = c.newServer(r.front, limits, tlsConfig, logger)
	r.start(ctx, limits, files, logger)
	return r, nil
}

// start serves the listeners, and reads files again when they change.
func (r *running) start(ctx context.Context, limits *limit.Limits, files *reloader, logger *slog.Logger) {
	r.served = make(chan error, len(r.listeners))
	for _, l := range r.listeners {
		go func() { r.served <- r.http.Serve(limits.Listener(quickACK(l))) }()
	}
	ctx, r.stop = context.WithCancel(context.WithoutCancel(ctx)) // metrics are served until the very end
	if r.ops != nil {
		go serveOps(ctx, r.ops, r.pages, logger)
	}
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(hangup) })
	go files.run(ctx, hangup, logger)
}

// close ends the rest of the server.
func (r *running) close() {
	_ = r.http.Close() // it was shut down before, unless it never served
	r.endTraces()
	r.stop()
}
