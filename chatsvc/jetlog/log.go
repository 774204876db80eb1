package jetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// appendTime bounds how long an append waits for its acknowledgement.
const appendTime = 5 * time.Second

// Options are what a log of either size is told.
type Options struct {
	// Retention bounds what the stream keeps: at least what fits, and somewhat
	// more, so that a burst does not outrun those who follow.
	Retention chatsvc.Retention
	// Sync is how often an embedded log writes to the disk what it has
	// acknowledged; zero: before it acknowledges.
	Sync time.Duration
	// Logger is where the log logs, the NATS server in this process too. The
	// default discards.
	Logger *slog.Logger
}

// Log is a [chatsvc.Log] on a JetStream stream. It is safe for concurrent use.
type Log struct {
	logger *slog.Logger
	engine *engine // nil where NATS is elsewhere
	conn   *nats.Conn
	js     jetstream.JetStream
	name   string // of the stream
	epoch  string
}

var _ chatsvc.Log = (*Log)(nil)

// Open opens the log in the directory dir, which is made if it is missing. Only
// one process can have it open. The caller calls [Log.Close] in the end.
func Open(ctx context.Context, dir string, opts Options) (*Log, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	d, err := openDirectory(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	l := &Log{logger: opts.Logger, name: "chat", engine: &engine{dir: d, sync: opts.Sync, logger: opts.Logger}}
	if err := l.openEngine(ctx, opts); err != nil {
		return nil, errors.Join(fmt.Errorf("data directory %s: %w", dir, err), l.Close())
	}
	return l, nil
}

func (l *Log) openEngine(ctx context.Context, opts Options) error {
	if err := l.engine.start(); err != nil {
		return err
	}
	conn, err := nats.Connect("", nats.InProcessServer(l.engine), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1))
	if err != nil {
		return err
	}
	l.conn = conn
	if l.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(16<<10), jetstream.WithPublishAsyncTimeout(appendTime)); err != nil {
		return err
	}
	l.epoch, err = openStream(ctx, l.js, l.name, opts.Retention)
	return err
}

// Close ends all appends and Follows, and closes the log. What was acknowledged
// is on its way to the disk at least.
func (l *Log) Close() error {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.engine == nil {
		return nil
	}
	l.engine.stop()
	return l.engine.dir.close()
}

// State implements [chatsvc.Log].
func (l *Log) State(ctx context.Context) (chatsvc.State, error) {
	stream, err := l.js.Stream(ctx, l.name)
	if err != nil {
		return chatsvc.State{}, err
	}
	state := stream.CachedInfo().State
	next := state.LastSeq + 1
	first := min(max(state.FirstSeq, 1), next)
	return chatsvc.State{Epoch: l.epoch, First: first, Next: next}, nil
}

// Append implements [chatsvc.Log].
func (l *Log) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	msg := &nats.Msg{Subject: l.name, Data: record}
	if key != "" {
		msg.Header = nats.Header{jetstream.MsgIDHeader: {messageID(key)}}
	}
	ack, err := l.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return chatsvc.Appended{}, err
	}
	select {
	case got := <-ack.Ok():
		return chatsvc.Appended{Offset: got.Sequence, Duplicate: got.Duplicate}, nil
	case err := <-ack.Err():
		return chatsvc.Appended{}, err
	case <-ctx.Done():
		return chatsvc.Appended{}, ctx.Err()
	}
}
