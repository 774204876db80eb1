package jetlog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"example.com/simplechat/chatsvc"
)

const (
	// startTime bounds the start of the server in this process.
	startTime = 30 * time.Second
	// maxRecord is the largest record in bytes, with its headers.
	maxRecord = chatsvc.MaxContentCeiling + 64<<10
)

// engine is a NATS server in this process, which listens on no port. It can be
// started again, and connections find the server that runs.
type engine struct {
	dir    *directory
	sync   time.Duration // 0: each write
	logger *slog.Logger

	mu  sync.Mutex // guards srv
	srv *server.Server
}

// start starts the server.
func (e *engine) start() error {
	srv, err := server.NewServer(&server.Options{
		ServerName:        "simplechat",
		DontListen:        true,
		NoSigs:            true,
		NoLog:             true,
		JetStream:         true,
		StoreDir:          e.dir.store(),
		SyncAlways:        e.sync == 0,
		SyncInterval:      e.sync,
		MaxPayload:        maxRecord,
		MaxPending:        64 << 20,
		JetStreamMaxStore: math.MaxInt64 / 4, // not three quarters of what is free now: a full disk is found by writing
	})
	if err != nil {
		return fmt.Errorf("nats server: %w", err)
	}
	srv.SetLoggerV2(serverLog{e.logger}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTime) || !srv.JetStreamEnabled() {
		srv.Shutdown()
		srv.WaitForShutdown()
		return errors.New("nats server: it does not start: its messages are in the log")
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.srv = srv
	return nil
}

// stop ends the server; what it was told to store is written.
func (e *engine) stop() {
	e.mu.Lock()
	srv := e.srv
	e.srv = nil
	e.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

var errStopped = errors.New("the nats server in this process does not run")

// InProcessConn implements [nats.InProcessConnProvider].
func (e *engine) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.srv == nil {
		return nil, errStopped
	}
	return e.srv.InProcessConn()
}
