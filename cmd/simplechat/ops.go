package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/simplechat/cmd/simplechat/internal/limit"
)

const (
	// defaultOps is the default address of the pages for operators.
	defaultOps = "127.0.0.1:65010"
	// opsOff is the value of the flag that switches the pages off.
	opsOff = "off"
	// maxScrapes is the largest number of scrapes at a time, because each visits all streams.
	maxScrapes = 2
	// opsHeaderTime bounds the time for the header of a request.
	opsHeaderTime = 10 * time.Second
)

// opsFlags are the flags for the pages for operators.
type opsFlags struct {
	OpsListen string `placeholder:"HOST:PORT" help:"Address for /metrics, /healthz, /readyz and /debug/pprof, which need no password: keep it private. off for none (127.0.0.1:65010, or none if that is in use)."`
}

// listen opens the address, or returns nil if there is none. If the default address is in
// use, it returns nil too: several servers on one machine need no flag.
func (f *opsFlags) listen(ctx context.Context) (net.Listener, error) {
	address := f.OpsListen
	switch address {
	case opsOff:
		return nil, nil //nolint:nilnil // none is no error
	case "":
		address = defaultOps
	}
	listener, err := listenTCP(ctx, address)
	switch {
	case err == nil:
		return listener, nil
	case f.OpsListen == "":
		return nil, nil //nolint:nilnil // none is no error
	default:
		return nil, fmt.Errorf("--ops-listen: %w", explainListen(err))
	}
}

// report logs the address of the pages.
func (f *opsFlags) report(l net.Listener, logger *slog.Logger) {
	switch {
	case l != nil:
		logger.Info("metrics and health", "ops", "http://"+l.Addr().String()+"/metrics")
	case f.OpsListen == "":
		logger.Info("no metrics: the default address is in use, give --ops-listen HOST:PORT", "addr", defaultOps)
	}
}

// newOpsHandler returns the pages for operators.
func newOpsHandler(front *front, m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok\n") // the process answers
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := front.reasons(); len(reasons) > 0 {
			http.Error(w, "not ready: "+strings.Join(reasons, "; "), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	mux.HandleFunc("GET /debug/pprof/", pprof.Index) // without cmdline: flags may have passwords
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// guard protects h from pages of other sites in an operator's browser. On loopback it also
// refuses requests with other host names (DNS rebinding). The name in the flag is allowed,
// because simplechat health uses it.
func (f *opsFlags) guard(l net.Listener, allowedHosts []string, h http.Handler) http.Handler {
	guarded := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("Sec-Fetch-Site") {
		case "", "none", "same-origin":
			h.ServeHTTP(w, r)
		default:
			http.Error(w, "operators' pages are not for other sites", http.StatusForbidden)
		}
	})
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() {
		if name, _, err := net.SplitHostPort(f.OpsListen); err == nil {
			allowedHosts = append(slices.Clone(allowedHosts), name)
		}
		return limit.Hosts(allowedHosts, guarded)
	}
	return guarded
}

// serveOps serves the pages for operators until ctx is done.
func serveOps(ctx context.Context, l net.Listener, h http.Handler, logger *slog.Logger) {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: opsHeaderTime, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		logger.Error("serve --ops-listen", "error", err)
	}
}
