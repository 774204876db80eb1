package jetlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// ErrClosed is returned by the methods of a log after [Log.Close].
var ErrClosed = errors.New("the log is closed")

// errNewEpoch means that the stream has another epoch than State returned last.
var errNewEpoch = fmt.Errorf("%w: the stream was replaced by another one", chatsvc.ErrEpoch)

// Options are the settings of a log that do not concern NATS.
type Options struct {
	// Retention bounds the records that the log retains. The stream stores
	// [chatsvc.Retention.Stored]. For the bound of bytes JetStream counts
	// about 100 bytes more for each record.
	Retention chatsvc.Retention
	// Logger receives the log's messages. Nil discards them.
	Logger *slog.Logger
}

// Log is a [chatsvc.Log] on a JetStream stream. It is safe for concurrent use.
type Log struct {
	logger    *slog.Logger
	stream    string
	retention chatsvc.Retention
	config    jetstream.StreamConfig // of the stream, without its epoch
	cluster   Cluster
	servers   *servers
	conn      *nats.Conn
	js        jetstream.JetStream
	publisher *publisher

	closed context.Context //nolint:containedctx // done when the log is closed: its goroutines outlive every call
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	close  func() error  // the work of Close, done once
	wake   chan struct{} // has one element when monitor should check the stream at once

	mu     sync.Mutex // guards all below
	down   error      // why nothing can be stored now; nil if messages can be stored
	denied error      // the last permission error from the NATS servers
	differ string     // settings of the stream that were changed while the log runs; empty: none

	// The epoch that State returned last, and what is known of the stream in it.
	epoch     string
	retired   map[string]bool // the epochs before
	created   time.Time       // when the stream was made
	epochOver chan struct{}   // closed when the stream is seen with another epoch
	seen      stamp           // the last record that a Follow handed out
	highest   uint64          // offset that the stream is known to have given
	first     uint64          // offset of the oldest record that is known to be retained
	keys      recentKeys
}

var _ chatsvc.BatchLog = (*Log)(nil)

// newLog returns a log that is not connected yet.
func newLog(c Cluster, opts Options) *Log {
	l := &Log{
		logger:    opts.Logger,
		stream:    c.Stream,
		retention: opts.Retention,
		config:    streamConfig(c.Stream, opts.Retention, c.Replicas),
		cluster:   c,
		wake:      make(chan struct{}, 1),
		epochOver: make(chan struct{}),
		retired:   make(map[string]bool),
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	l.servers = newServers(l)
	l.closed, l.cancel = context.WithCancel(context.Background())
	l.close = sync.OnceValue(l.end)
	return l
}

// Err returns nil while messages can be stored, and otherwise the reason why not. It
// suits a readiness check.
func (l *Log) Err() error {
	if l.closed.Err() != nil {
		return ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.obstacle()
}

// obstacle returns why nothing can be stored now. The caller holds mu.
func (l *Log) obstacle() error {
	if l.isEpochOver() { // until State returns the new epoch, an offset would be reported with the old one
		return errNewEpoch
	}
	return l.down
}

// setDown notes why nothing can be stored, and ends all appends. It logs each cause once,
// because the first one may not be the one that must be fixed.
func (l *Log) setDown(err error) {
	l.mu.Lock()
	known := l.down != nil && l.down.Error() == err.Error()
	l.down = err
	p := l.publisher
	l.mu.Unlock()
	if !known {
		l.logger.Error("the log cannot store messages now", "error", err)
	}
	if p != nil { // else the connection has ended before it was used
		p.fail(err)
	}
}

// setUp notes that messages can be stored again.
func (l *Log) setUp() {
	l.mu.Lock()
	was := l.down
	l.down = nil
	l.mu.Unlock()
	if was != nil {
		l.logger.Info("the log can store messages again")
	}
}

// Close ends all appends and Follows with [ErrClosed], and closes the
// connection. Acknowledged records stay as durable as they were. It may be called
// more than once.
func (l *Log) Close() error { return l.close() }

// end does the work of Close. It is called once.
func (l *Log) end() error {
	l.cancel()
	if l.publisher != nil {
		l.publisher.fail(ErrClosed)
	}
	l.tasks.Wait()
	l.servers.close()
	if l.conn != nil {
		l.conn.Close()
	}
	if l.publisher != nil {
		l.publisher.fail(ErrClosed) // appends that began before the connection was closed
	}
	return nil
}

// State implements [chatsvc.Log]. It asks the stream's leader, and fails if there is
// none.
func (l *Log) State(ctx context.Context) (chatsvc.State, error) {
	info, err := l.settledLeader(ctx)
	if err != nil && !errors.Is(err, errNewEpoch) {
		return chatsvc.State{}, err
	}
	if err != nil { // the epoch was just changed
		if info, err = l.settledLeader(ctx); err != nil {
			return chatsvc.State{}, err
		}
	}
	oldest, err := l.firstByAge(ctx, info)
	if err != nil {
		return chatsvc.State{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case epochOf(info) != l.epoch:
		l.endFollows(info)
		l.adopt(info)
	case l.isEpochOver(): // it is the same epoch after all
		l.epochOver = make(chan struct{})
	}
	l.first = max(l.first, oldest)
	return chatsvc.State{Epoch: l.epoch, First: l.firstRetained(info), Next: info.State.LastSeq + 1}, nil
}

// adopt makes the epoch of the stream the epoch of the log. The caller holds mu.
func (l *Log) adopt(info *jetstream.StreamInfo) {
	if l.epoch != "" {
		l.retired[l.epoch] = true
	}
	l.epoch, l.created, l.epochOver = epochOf(info), info.Created, make(chan struct{})
	l.seen, l.highest, l.first, l.keys = stamp{}, info.State.LastSeq, 0, recentKeys{}
}

// isRetired reports whether an epoch has ended, as far as this log knows.
func (l *Log) isRetired(epoch string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retired[epoch]
}
