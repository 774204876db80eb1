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

// ErrClosed is what a log's methods return after [Log.Close].
var ErrClosed = errors.New("the log is closed")

// errReplaced means that the stream has another epoch than State returned last.
var errReplaced = fmt.Errorf("%w: the stream was replaced by another one", chatsvc.ErrEpoch)

// Options are settings that have nothing to do with NATS.
type Options struct {
	// Retention bounds what the log retains. The stream stores
	// [chatsvc.Retention.Stored]. Bytes are compared with what JetStream counts,
	// which is about 100 bytes more for each record.
	Retention chatsvc.Retention
	// Logger is where the log logs. The default discards.
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
	close  func() error  // what Close does, once
	wake   chan struct{} // has one when watch should check the stream at once

	mu     sync.Mutex // guards all below
	down   error      // why nothing can be stored now; nil while all is well
	denied error      // what the NATS servers refused this user last
	differ string     // the stream's settings that were changed while the log runs; empty: none

	// About the epoch that State returned last.
	epoch    string
	retired  map[string]bool // the epochs before
	created  time.Time       // when the stream was made
	replaced chan struct{}   // closed when the stream is seen with another epoch
	seen     place           // the last record that a Follow handed out
	highest  uint64          // offset that the stream is known to have given
	first    uint64          // offset of the oldest record that is known to be retained
	keys     recentKeys
}

var _ chatsvc.BatchLog = (*Log)(nil)

// place is a record that was seen, to be recognized.
type place struct {
	offset uint64
	time   time.Time
}

// newLog returns a log that is not connected yet.
func newLog(c Cluster, opts Options) *Log {
	l := &Log{
		logger:    opts.Logger,
		stream:    c.Stream,
		retention: opts.Retention,
		config:    streamConfig(c.Stream, opts.Retention, c.Replicas),
		cluster:   c,
		wake:      make(chan struct{}, 1),
		replaced:  make(chan struct{}),
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

// Err returns nil while messages can be stored, or why they cannot. It is what
// a readiness check asks.
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
	if l.isReplaced() { // until State returns the new epoch, an offset would go with the old one
		return errReplaced
	}
	return l.down
}

// setDown notes why nothing can be stored, and ends the wait of all appends. It
// logs each cause once: the first one may not be the one to mend.
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
// connection. What was acknowledged stays as durable as it was. It may be called
// more than once.
func (l *Log) Close() error { return l.close() }

// end is Close, called once.
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

// State implements [chatsvc.Log]. It asks the stream's leader, for at most
// requestTime, and fails if there is none.
func (l *Log) State(ctx context.Context) (chatsvc.State, error) {
	info, err := l.settledLeader(ctx)
	if err != nil && !errors.Is(err, errReplaced) {
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
	case l.isReplaced(): // it is the same one after all
		l.replaced = make(chan struct{})
	}
	l.first = max(l.first, oldest)
	return chatsvc.State{Epoch: l.epoch, First: l.firstRetained(info), Next: info.State.LastSeq + 1}, nil
}

// firstRetained returns the offset of the oldest record that is retained, as far
// as that is known. The caller holds mu.
func (l *Log) firstRetained(info *jetstream.StreamInfo) uint64 {
	next := info.State.LastSeq + 1
	l.first = max(l.first, info.State.FirstSeq, 1, l.firstByCount(next))
	return min(l.first, next)
}

// firstByCount returns the lowest offset that the bound of messages allows if next
// is the next one, or 0.
func (l *Log) firstByCount(next uint64) uint64 {
	if most := uint64(l.retention.Messages); most > 0 && next > most {
		return next - most
	}
	return 0
}

// firstByAge returns the lowest offset that the bound of age allows, or 0 if there
// is no such bound.
func (l *Log) firstByAge(ctx context.Context, info *jetstream.StreamInfo) (uint64, error) {
	if l.retention.Age == 0 {
		return 0, nil
	}
	oldest, err := l.directGet(ctx, directRequest{StartTime: time.Now().Add(-l.retention.Age).UTC(), Batch: 1})
	switch {
	case err != nil:
		return 0, err
	case len(oldest) == 0:
		return info.State.LastSeq + 1, nil
	}
	return oldest[0].Offset, nil
}

// adopt makes the epoch that the stream has the log's. The caller holds mu.
func (l *Log) adopt(info *jetstream.StreamInfo) {
	if l.epoch != "" {
		l.retired[l.epoch] = true
	}
	l.epoch, l.created, l.replaced = epochOf(info), info.Created, make(chan struct{})
	l.seen, l.highest, l.first, l.keys = place{}, info.State.LastSeq, 0, recentKeys{}
}

// isRetired reports whether an epoch has ended, as far as this log knows.
func (l *Log) isRetired(epoch string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.retired[epoch]
}
