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
	// startTime bounds the start of the server in this process: a long history
	// is read from the disk.
	startTime = time.Minute
	// maxRecord is the largest record in bytes, with its headers.
	maxRecord = chatsvc.MaxContentCeiling + 64<<10
	// maxPending is how many bytes may be on their way to one connection.
	maxPending = 64 << 20
	// never is an interval that does not pass.
	never = 100 * 365 * 24 * time.Hour
)

// engine is a NATS server in this process, which listens on no port. It can be
// started again, and connections find the server that runs.
type engine struct {
	dir      *directory
	disk     *disk // nil until the stream is there
	logger   *slog.Logger
	failures chan error // has what failed, until it is repaired

	mu  sync.Mutex // guards srv
	srv *server.Server
}

// start starts the server. It touches nothing if a file of it cannot be opened.
// It distrusts some files unless they are what an earlier one has written.
func (e *engine) start(trusted bool) error {
	if err := checkTree(e.dir.store()); err != nil {
		return fmt.Errorf("%w: nothing was changed; let this user read and write all that is in the directory", err)
	}
	if !trusted {
		if err := distrust(e.dir.store(), embeddedStream); err != nil {
			return err
		}
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:            "simplechat",
		DontListen:            true,
		NoSigs:                true,
		NoLog:                 true,
		JetStream:             true,
		StoreDir:              e.dir.store(),
		SyncInterval:          never, // see blocks
		MaxPayload:            maxRecord,
		MaxPending:            maxPending,
		StreamMaxBufferedMsgs: 1 << 20,           // never more than there are senders
		StreamMaxBufferedSize: math.MaxInt64 / 4, // nor more bytes than theirs
		JetStreamMaxStore:     math.MaxInt64 / 4, // not three quarters of what is free now: a full disk is found by writing
	})
	if err != nil {
		return fmt.Errorf("nats server: %w", err)
	}
	fatal := make(chan error, 1)
	srv.SetLoggerV2(serverLog{e.logger, e.fail, fatal}, false, false, false)
	srv.Start()
	if len(fatal) > 0 {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("nats server: %w", <-fatal)
	}
	if !srv.JetStreamEnabled() || !srv.ReadyForConnections(startTime) {
		srv.Shutdown()
		srv.WaitForShutdown()
		select {
		case err = <-e.failures:
		default:
			err = errors.New("it does not start")
		}
		return fmt.Errorf("nats server: %w", err)
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

// close ends the server, and lets another process have the directory.
func (e *engine) close() error {
	e.stop()
	var err error
	if e.disk != nil {
		err = e.disk.close()
	}
	return errors.Join(err, e.dir.close())
}

// running reports whether there is a server: one that stop has not ended.
func (e *engine) running() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.srv != nil
}

// fail notes that something went wrong.
func (e *engine) fail(err error) {
	select {
	case e.failures <- err:
	default: // there is one already
	}
}

// forget drops what was noted: the server that it is about has ended.
func (e *engine) forget() {
	select {
	case <-e.failures: //nolint:errcheck // that is the point
	default:
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
