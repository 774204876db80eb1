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
)

// ErrClosed is what a log's methods return after [Log.Close].
var ErrClosed = errors.New("the log is closed")

// Options are what a log is told.
type Options struct {
	// Retention bounds what the log reports; it stores [chatsvc.Retention.Stored]. It
	// may be another one at each [Open].
	Retention chatsvc.Retention
	// SyncInterval is how often acknowledged records are written to the disk. Zero:
	// before each acknowledgement. With an interval a power cut loses what was
	// acknowledged since the last write, and the log gets another epoch; the end of
	// the process alone loses nothing.
	SyncInterval time.Duration
	// OnCommit is called after each transaction that stores messages with the time that
	// it took, its sync included unless SyncInterval says otherwise. It must return
	// soon: appends wait for it. Nil: nothing is called.
	OnCommit func(took time.Duration)
	// Logger is where the log logs. The default discards.
	Logger *slog.Logger

	system *system // of tests; nil: this machine
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
	lock      *flock.Flock // nil where nothing can be written

	maxKeys  int // that are known at a time
	readers  *readers
	appends  appendQueue
	stop     chan struct{} // closed by Close
	ended    chan struct{} // closed when the writer has ended
	shut     func() error  // what Close does, once
	closeErr error         // of the writer, once ended

	mu       sync.Mutex // guards all below
	epochs   []epochStart
	first    uint64 // first retained offset
	floor    uint64 // first stored offset
	next     uint64
	recent   recentRecords
	redacted map[uint64]struct{}
	changed  chan struct{} // closed and replaced when anything above changes
	down     error         // why nothing can be stored now; nil while all is well
	isClosed bool
}

var (
	_ chatsvc.SizedLog = (*Log)(nil)
	_ chatsvc.BatchLog = (*Log)(nil)
)

// Open opens the log in a directory, and makes both if they are missing. A directory
// belongs to one process. Where nothing can be written, because the disk is full or
// read-only, Open serves what is there: appends fail with the reason, and [Log.Err]
// has it. The caller calls [Log.Close] in the end.
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
	if opts.system != nil {
		l.system = *opts.system
	} else {
		l.system = realSystem()
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

// Close ends all appends and Follows with [ErrClosed], and closes the database. All
// that was acknowledged is on the disk then. It may be called more than once, and
// returns the same each time.
func (l *Log) Close() error { return l.shut() }

// end is Close, called once.
func (l *Log) end() error {
	l.mu.Lock()
	l.isClosed = true
	l.announce()
	l.mu.Unlock()
	close(l.stop)
	<-l.ended
	return errors.Join(l.closeErr, l.unlock())
}

// Err returns nil while messages can be stored, or why they cannot. It is what a
// readiness check asks.
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
// nobody takes them for damaged. All of them are below what the log reports.
func (l *Log) raiseFloor(offset uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.floor = max(l.floor, offset)
}

// announce wakes those that wait for a change. The caller holds mu.
func (l *Log) announce() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// setDown notes why nothing can be stored, nil if it can, and logs a change.
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

// busyTime is how long a statement waits for another process that has the database
// locked.
const busyTime = 2 * time.Second
