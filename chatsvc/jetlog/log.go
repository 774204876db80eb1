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

const (
	// requestTime bounds a question to JetStream.
	requestTime = 2 * time.Second
	// embeddedAppendTime and clusterAppendTime bound the wait for an
	// acknowledgement: of a disk, which may be slow but is there, and of a
	// cluster, which may be away.
	embeddedAppendTime = 30 * time.Second
	clusterAppendTime  = 2 * time.Second
	// reconnectWait is the time between two tries to connect to NATS.
	reconnectWait = 200 * time.Millisecond
)

// ErrClosed is what a log's methods return after [Log.Close].
var ErrClosed = errors.New("the log is closed")

// Options are what a log of either size is told.
type Options struct {
	// Retention bounds what the stream keeps. It keeps what fits, and somewhat
	// more, so that a burst does not outrun those who follow.
	Retention chatsvc.Retention
	// Logger is where the log logs, the NATS server in this process too. The
	// default discards.
	Logger *slog.Logger
}

// Log is a [chatsvc.Log] on a JetStream stream. It is safe for concurrent use.
type Log struct {
	logger    *slog.Logger
	stream    string
	config    jetstream.StreamConfig // of the stream, without its epoch
	conn      *nats.Conn
	js        jetstream.JetStream
	publisher *publisher

	// Of a log in this process, nil where NATS is elsewhere.
	engine    *engine
	committer *committer
	recent    *recent

	closed context.Context //nolint:containedctx // done when the log is closed: its goroutines outlive every call
	close  context.CancelFunc
	tasks  sync.WaitGroup
	shut   func() error // what Close does, once

	reconnected chan struct{} // has one when a cluster can be reached again

	mu    sync.Mutex // guards all below
	epoch string     // that State returned last, or of the start
	down  error      // why nothing can be stored now; nil while all is well
	// denied is what the NATS servers have refused this user last.
	denied error
	// turned is closed when the stream is seen with another epoch.
	turned chan struct{}

	// Of the epoch, where NATS is elsewhere.
	seen    place  // the last record that a Follow handed out
	highest uint64 // offset that the stream is known to have given
	differs string // what is wrong with its settings, empty while nothing is
	notes   keyNotes
}

var _ chatsvc.Log = (*Log)(nil)

// place is a record that was seen, to be recognized.
type place struct {
	offset uint64
	time   time.Time
}

// newLog returns a log that is connected to nothing yet.
func newLog(stream string, config jetstream.StreamConfig, opts Options) *Log {
	l := &Log{stream: stream, config: config, logger: opts.Logger, turned: make(chan struct{}), reconnected: make(chan struct{}, 1)}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	l.closed, l.close = context.WithCancel(context.Background())
	l.shut = sync.OnceValue(l.end)
	return l
}

// connect connects to the NATS server at urls, or by options to one in this
// process.
func (l *Log) connect(urls string, wait time.Duration, options ...nats.Option) error {
	options = append(options,
		nats.Name("simplechat"),
		nats.MaxReconnects(-1),
		nats.IgnoreAuthErrorAbort(), // it may pass: an account that is not there yet, credentials that are renewed
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.ReconnectBufSize(-1), // a send that was answered unavailable does not leave later
		nats.Timeout(requestTime),
		nats.PingInterval(5*time.Second), // two unanswered ones: the server is gone
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.logger.Warn("nats client", "error", err)
			if errors.Is(err, nats.ErrPermissionViolation) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.denied = err
			}
		}),
	)
	var err error
	if l.conn, err = nats.Connect(urls, options...); err != nil {
		return err
	}
	if l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(requestTime)); err != nil {
		return err
	}
	p, err := newPublisher(l.conn, l.stream, wait, l.stored)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publisher = p
	return err
}

// stored ends an append that JetStream has stored.
func (l *Log) stored(a *pendingAppend) {
	if l.committer != nil {
		l.committer.add(a)
		return
	}
	a.end(a.appended, nil)
}

// disconnected ends the wait of all appends: their answers will not come.
func (l *Log) disconnected(err error) {
	if l.closed.Err() != nil {
		return
	}
	if err == nil {
		err = nats.ErrDisconnected
	}
	l.setDown(fmt.Errorf("nats: %w", err))
	if l.engine != nil && l.engine.running() {
		// It has cut off this connection, as after a standstill of the process:
		// what it stored of the appends that have just ended is not known here.
		l.engine.fail(err)
	}
}

// setDown notes why nothing can be stored, and ends the wait of all appends. It
// logs what it was not told just before: the first cause may not be what to mend.
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
	if l.isTurned() { // until State tells the new epoch, an offset would go with the old one
		return errReplaced
	}
	return l.down
}

// Close ends all appends and Follows with [ErrClosed], and closes the log. What
// was acknowledged is as durable as before, and on an embedded log on the disk.
// It may be called more than once, and returns the same each time.
func (l *Log) Close() error { return l.shut() }

// end is Close, called once.
func (l *Log) end() error {
	l.close()
	if l.publisher != nil {
		l.publisher.fail(ErrClosed)
	}
	l.tasks.Wait()
	if l.conn != nil {
		l.conn.Close()
	}
	if l.publisher != nil {
		l.publisher.fail(ErrClosed) // what was sent meanwhile
	}
	if l.committer != nil {
		l.committer.close()
	}
	if l.engine == nil {
		return nil
	}
	return l.engine.close()
}

// State implements [chatsvc.Log]. It asks the stream, for at most two seconds.
func (l *Log) State(ctx context.Context) (chatsvc.State, error) {
	if l.closed.Err() != nil {
		return chatsvc.State{}, ErrClosed
	}
	info, err := l.info(ctx)
	if err != nil {
		return chatsvc.State{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case epochOf(info) != l.epoch:
		l.endFollows()
		l.adopt(info)
	case l.isTurned(): // it is not another one after all
		l.turned = make(chan struct{})
	}
	return stateOf(info, l.epoch), nil
}

// adopt makes the epoch that the stream has the log's. The caller holds mu.
func (l *Log) adopt(info *jetstream.StreamInfo) {
	l.epoch, l.turned = epochOf(info), make(chan struct{})
	l.seen, l.highest, l.notes = place{}, info.State.LastSeq, keyNotes{}
}

// info asks the stream for its settings and its state, for at most requestTime.
func (l *Log) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	stream, err := l.js.Stream(ctx, l.stream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", l.stream, err)
	}
	info := stream.CachedInfo()
	l.mu.Lock()
	defer l.mu.Unlock()
	if epochOf(info) == l.epoch {
		l.highest = max(l.highest, info.State.LastSeq)
	}
	return info, nil
}

func stateOf(info *jetstream.StreamInfo, epoch string) chatsvc.State {
	next := info.State.LastSeq + 1
	return chatsvc.State{Epoch: epoch, First: min(max(info.State.FirstSeq, 1), next), Next: next}
}
