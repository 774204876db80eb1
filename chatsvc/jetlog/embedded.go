package jetlog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

const (
	// embeddedStream is the stream's name in a data directory.
	embeddedStream = "chat"
	// startTime bounds the start of the server in this process: a long history
	// is read from the disk.
	startTime = time.Minute
	// maxRecord is the largest record in bytes, with its headers.
	maxRecord = chatsvc.MaxContentCeiling + 64<<10
	// maxPending is how many bytes may be on their way to one connection.
	maxPending = 64 << 20
	// settlePause is the time between two writes of the mark where an interval is
	// given.
	settlePause = 100 * time.Millisecond
	// probePause is the time between two tries to write to a disk that is full
	// or fails.
	probePause = time.Second
)

// Open opens the log in the directory dir, which is made if it is missing. Only
// one process can have it open. What was acknowledged is on the disk if interval
// is zero; otherwise the log writes it there that often, and what a power cut
// may take is that much. A crash of the process alone takes nothing. The caller
// calls [Log.Close] in the end.
func Open(ctx context.Context, dir string, interval time.Duration, opts Options) (*Log, error) {
	config := streamConfig(embeddedStream, opts.Retention, 1)
	config.AllowAtomicPublish = true // see group
	l := newLog(embeddedStream, config, opts)
	if err := l.open(ctx, dir, interval); err != nil {
		_ = l.Close() // it never came to be
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	return l, nil
}

func (l *Log) open(ctx context.Context, path string, interval time.Duration) error {
	dir, err := openDirectory(path)
	if err != nil {
		return err
	}
	l.engine = &engine{dir: dir, interval: interval, logger: l.logger, failures: make(chan error, 1)}
	if err := l.engine.start(); err != nil {
		return err
	}
	if err := l.connect("", embeddedAppendTime, nats.InProcessServer(l.engine)); err != nil {
		return err
	}
	if interval == 0 {
		l.group = newGroup(l.publisher)
	}
	info, err := l.openEmbeddedStream(ctx)
	if err != nil {
		return err
	}
	if info, err = l.checkMark(ctx, info); err != nil {
		return err
	}
	l.epoch = epochOf(info)
	m := mark{Epoch: epochOf(info), Offset: info.State.LastSeq, Interval: interval > 0, Boot: bootID()}
	if l.engine.disk, err = dir.openDisk(l.stream, m, l.currentEpoch); err != nil {
		return err
	}
	// What the server complained about while it recovered the stream, such as a
	// batch that a power cut has torn, it has dealt with: the stream is there.
	l.engine.forget()
	l.publisher.recent.set(info.State.LastSeq)
	l.tasks.Go(l.watch)
	if interval == 0 {
		l.publisher.settle = l.engine.disk.settle
	} else {
		l.tasks.Go(l.settleLater)
	}
	return nil
}

// openEmbeddedStream makes the stream, or gives it today's retention.
func (l *Log) openEmbeddedStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if err := l.setDamagedSettingsAside(); err != nil {
			return nil, err
		}
		return l.createStream(ctx, l.config)
	}
	if err != nil {
		return nil, err
	}
	config := l.config
	config.Metadata = info.Config.Metadata
	if differences(info.Config, config) == nil {
		return info, nil
	}
	stream, err := l.js.UpdateStream(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("set the retention: %w", err)
	}
	return stream.CachedInfo(), nil
}

// setDamagedSettingsAside renames the files with the stream's settings, if they
// are there. The server does not read damaged ones, and does not replace them
// either: each start would find no stream. The messages beside them are kept, and
// belong to the stream that is made next, which has another epoch.
func (l *Log) setDamagedSettingsAside() error {
	dir := streamPath(l.engine.dir.store(), l.stream)
	for _, name := range []string{server.JetStreamMetaFile, server.JetStreamMetaFileSum} {
		path := filepath.Join(dir, name)
		switch err := os.Rename(path, path+".damaged"); {
		case err == nil:
			l.logger.Error("the stream's settings are damaged: the log gets another epoch, and keeps its messages", "renamed", path)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	return nil
}

// checkMark gives the stream another epoch if acknowledged records are, or may
// be, gone: their offsets will be those of others.
func (l *Log) checkMark(ctx context.Context, info *jetstream.StreamInfo) (*jetstream.StreamInfo, error) {
	m, err := readMark(l.engine.dir.markPath())
	if err == nil && m.Epoch != epochOf(info) && m.Offset > info.State.LastSeq {
		l.logger.Error("acknowledged records are gone, and the log has another epoch", "epoch", m.Epoch, "from", info.State.LastSeq+1, "to", m.Offset)
	}
	if errors.Is(err, errMarkDamaged) && l.engine.interval == 0 {
		l.logger.Warn("it cannot be told whether records are missing", "error", err)
		return info, nil
	}
	if err == nil {
		err = m.lost(epochOf(info), info.State.LastSeq, bootID())
	} else if !errors.Is(err, errMarkDamaged) {
		return nil, err
	}
	if err == nil {
		return info, nil
	}
	if err := l.wentBack(ctx, epochOf(info), err); !errors.Is(err, errReplaced) {
		return nil, err
	}
	return l.info(ctx)
}

// settleLater settles what was acknowledged from time to time, and at the end:
// with an interval an acknowledgement does not promise that it is settled.
func (l *Log) settleLater() {
	for l.closed.Err() == nil {
		stored, grown := l.publisher.recent.last()
		if err := l.engine.disk.settle(stored); err != nil {
			l.suspect(err)
		}
		_ = l.pause(l.closed, settlePause)
		select {
		case <-grown:
		case <-l.closed.Done():
		}
	}
	stored, _ := l.publisher.recent.last()
	if err := l.engine.disk.settle(stored); err != nil {
		l.logger.Error("settle the log", "error", err)
	}
}

// currentEpoch returns the epoch that State returned last.
func (l *Log) currentEpoch() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// watch starts the server in this process anew when it has failed: after an
// error of the disk it stores nothing more.
func (l *Log) watch() {
	for {
		select {
		case err := <-l.engine.failures:
			l.repair(err)
		case <-l.closed.Done():
			return
		}
	}
}

// repair waits until the disk can be written to, and starts the server anew.
func (l *Log) repair(cause error) {
	probe := l.engine.dir.probe()
	if probe != nil {
		cause = probe
	}
	l.setDown(fmt.Errorf("data directory %s: %w", l.engine.dir.path, cause))
	for {
		if l.pause(l.closed, probePause) != nil {
			return
		}
		if err := l.engine.dir.probe(); err != nil {
			continue
		}
		if err := l.restart(); err != nil {
			l.logger.Error("start the nats server anew", "error", err)
			continue
		}
		l.setUp()
		return
	}
}

// restart starts the server anew, and returns when the stream is there.
func (l *Log) restart() error {
	l.engine.stop()
	l.engine.forget()
	if err := l.engine.start(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(l.closed, startTime)
	defer cancel()
	for {
		info, err := l.info(ctx)
		if err == nil {
			err = l.engine.disk.reopen()
		}
		if err == nil {
			l.engine.forget() // see open
			return l.resume(ctx, info)
		}
		if l.pause(ctx, reconnectWait) != nil {
			return err
		}
	}
}

// resume goes on with the stream as it is after a restart.
func (l *Log) resume(ctx context.Context, info *jetstream.StreamInfo) error {
	stored, _ := l.publisher.recent.last()
	if last := info.State.LastSeq; last < stored {
		why := fmt.Errorf("offset %d was there, the last one is %d", stored, last)
		if err := l.wentBack(ctx, l.currentEpoch(), why); !errors.Is(err, errReplaced) {
			return err
		}
		if err := l.look(ctx); err != nil {
			return err
		}
	}
	l.publisher.recent.set(info.State.LastSeq)
	return nil
}

// suspect takes an error of an append: something may have to be repaired.
func (l *Log) suspect(err error) {
	if l.engine != nil {
		l.engine.fail(err)
		return
	}
	l.setDown(err)
}

// engine is a NATS server in this process, which listens on no port. It can be
// started again, and connections find the server that runs.
type engine struct {
	dir      *directory
	disk     *disk         // nil until the stream is there
	interval time.Duration // between writes to the disk; 0: each one is
	logger   *slog.Logger
	failures chan error // has what failed, until it is repaired

	mu  sync.Mutex // guards srv
	srv *server.Server
}

// start starts the server. It touches nothing if a file of it cannot be opened.
func (e *engine) start() error {
	if err := checkTree(e.dir.store()); err != nil {
		return fmt.Errorf("%w: nothing was changed; let this user read and write all that is in the directory", err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName:            "simplechat",
		DontListen:            true,
		NoSigs:                true,
		NoLog:                 true,
		JetStream:             true,
		StoreDir:              e.dir.store(),
		SyncAlways:            e.interval == 0,
		SyncInterval:          e.interval,
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
