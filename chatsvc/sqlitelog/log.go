package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/fault"
)

// ErrClosed is returned by the methods of a log after [Log.Close].
var ErrClosed = errors.New("the log is closed")

// SyncAlways is the [Options].SyncInterval with which every record is on the disk before
// its append is acknowledged.
const SyncAlways time.Duration = 0

// Options are the settings of a log.
type Options struct {
	// Retention bounds the records that the log reports; it stores
	// [chatsvc.Retention.Stored]. It may change at each [Open].
	Retention chatsvc.Retention
	// SyncInterval is the time between two writes to the disk. [SyncAlways], the zero
	// value, writes before each acknowledgement. With an interval, a power cut loses the
	// messages that were acknowledged since the last write, and the log gets another
	// epoch. If only the process ends, nothing is lost.
	SyncInterval time.Duration
	// OnCommit is called after each transaction that stores messages, with its duration,
	// which includes the sync if SyncInterval is [SyncAlways]. It must return soon,
	// because appends wait for it. Nil means no call.
	OnCommit func(took time.Duration)
	// Logger receives the log's messages. Nil discards them.
	Logger *slog.Logger

	system *system // for tests; nil: this machine
}

// Log is a [chatsvc.Log] in an SQLite database. It is safe for concurrent use.
type Log struct {
	dir       string
	path      string // of the database
	retention chatsvc.Retention
	interval  time.Duration
	onCommit  func(took time.Duration)
	logger    *slog.Logger
	system    system
	lock      *flock.Flock // nil if nothing can be written

	maxKeys  int // largest number of keys that are known at a time
	readers  *readers
	appends  appendQueue
	stop     chan struct{} // closed by Close
	ended    chan struct{} // closed when the writer has ended
	shut     func() error  // the work of Close, done once
	closeErr error         // error of the writer; valid when ended is closed

	mu       sync.Mutex // guards all below
	epochs   []epochStart
	first    uint64 // first retained offset
	floor    uint64 // first stored offset
	next     uint64
	recent   recentRecords
	redacted map[uint64]struct{}
	changed  chan struct{} // closed and replaced when anything above changes
	down     error         // why nothing can be stored now; nil if messages can be stored
	isClosed bool
}

var (
	_ chatsvc.SizedLog   = (*Log)(nil)
	_ chatsvc.BatchLog   = (*Log)(nil)
	_ chatsvc.OrderedLog = (*Log)(nil)
)

// Open opens the log in a directory, and creates both if they are missing. Only one
// process can use a directory. If nothing can be written, because the disk is full or
// read-only, Open still serves the existing messages; appends fail with the reason, which
// [Log.Err] returns too. The caller must call [Log.Close] at the end.
//
// If acknowledged records are missing, Open copies the database's files aside, logs an
// error, and the log gets another epoch.
func Open(ctx context.Context, dir string, opts Options) (*Log, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	l := newLog(dir, opts)
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return l, nil
}

func newLog(dir string, opts Options) *Log {
	l := &Log{
		dir:       dir,
		path:      filepath.Join(dir, DatabaseFile),
		retention: opts.Retention,
		interval:  opts.SyncInterval,
		onCommit:  opts.OnCommit,
		maxKeys:   chatsvc.MaxKeys,
		logger:    opts.Logger,
		stop:      make(chan struct{}),
		ended:     make(chan struct{}),
		redacted:  make(map[uint64]struct{}),
		changed:   make(chan struct{}),
	}
	if l.logger == nil {
		l.logger = slog.New(slog.DiscardHandler)
	}
	l.system = realSystem()
	if m := fault.Simulated(); m != nil {
		l.system.boot, l.system.elapsed, l.system.wall = m.Boot, m.Elapsed, m.Wall
	}
	if opts.system != nil {
		l.system = *opts.system
	}
	l.readers = newReaders()
	l.appends.arrived = make(chan struct{}, 1)
	l.shut = sync.OnceValue(l.end)
	return l
}

func (l *Log) open() error {
	if err := makeDirectory(l.dir); err != nil {
		return err
	}
	if err := refuseJetStream(l.dir); err != nil {
		return err
	}
	lock, err := lockDirectory(l.dir)
	if err != nil {
		return err
	}
	l.lock = lock
	w := newWriter(l)
	if err := w.open(true); err != nil {
		_ = w.close() // the first error counts
		return errors.Join(err, l.unlock())
	}
	go w.run()
	return nil
}

func (l *Log) unlock() error {
	if l.lock == nil {
		return nil
	}
	return l.lock.Close()
}

// Close ends all appends and Follows with [ErrClosed], and closes the database. Then all
// acknowledged records are on the disk. It may be called more than once, and returns the
// same error each time.
func (l *Log) Close() error { return l.shut() }

// end does the work of Close. It is called once.
func (l *Log) end() error {
	l.mu.Lock()
	l.isClosed = true
	l.announce()
	l.mu.Unlock()
	close(l.stop)
	<-l.ended
	return errors.Join(l.closeErr, l.unlock())
}

// Err returns nil while messages can be stored, and otherwise the reason why not. It suits
// a readiness check.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return ErrClosed
	}
	return l.down
}

// State implements [chatsvc.Log].
func (l *Log) State(ctx context.Context) (chatsvc.State, error) {
	if err := ctx.Err(); err != nil {
		return chatsvc.State{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.isClosed {
		return chatsvc.State{}, ErrClosed
	}
	return chatsvc.State{Epoch: l.epoch(), First: l.first, Next: l.next}, nil
}

// epoch returns the current epoch. The caller holds mu.
func (l *Log) epoch() string { return l.epochs[len(l.epochs)-1].epoch }

// check returns an error if the log is closed or in another epoch. The caller holds
// mu.
func (l *Log) check(epoch string) error {
	switch {
	case l.isClosed:
		return ErrClosed
	case epoch != l.epoch():
		return fmt.Errorf("%w: it is %s, not %s", chatsvc.ErrEpoch, l.epoch(), epoch)
	}
	return nil
}

// raiseFloor notes that the records below an offset are about to be removed, so that
// readers do not report them as damaged. All of them are below the first retained offset.
func (l *Log) raiseFloor(offset uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, offset)
}

// announce wakes the goroutines that wait for a change. The caller holds mu.
func (l *Log) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// setDown notes why nothing can be stored, or nil if messages can be stored, and logs a
// change.
func (l *Log) setDown(err error) {
	l.mu.Lock()
	was := l.down
	l.down = err
	l.mu.Unlock()
	switch {
	case err != nil && (was == nil || was.Error() != err.Error()):
		l.logger.Error("messages cannot be stored now", "error", err)
	case err == nil && was != nil:
		l.logger.Info("messages can be stored again")
	}
}

// busyTime is how long a statement waits while another process has locked the database.
const busyTime = 2 * time.Second
