package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// replicaLog is the log as one server sees it, with its faults. It is safe for
// concurrent use.
type replicaLog struct {
	store   *store
	reached *tally

	mu      sync.Mutex // guards all below
	appends []mishap   // of the next appends
	reads   []mishap   // of the next reads
	states  []mishap   // of the next questions for the state
	lag     time.Duration
	broken  chan struct{} // closed to break those that follow
	dead    bool          // the process was killed: nothing that it does has an effect
	killed  chan struct{} // closed when it is
}

var _ chatsvc.Log = (*replicaLog)(nil)

// mishap is how a call goes wrong.
type mishap struct {
	kind mishapKind
	time time.Duration
}

type mishapKind int

const (
	failBefore mishapKind = iota // it fails, and does nothing
	failAfter                    // it does all, and fails
	late                         // it fails, and is done some time later
	slow                         // it is done some time later
	slowAnswer                   // it is done, and answers some time later
	twice                        // it is done twice
	refuse                       // it is refused: the disk is full
	block                        // it waits until its context ends
	mishapKinds
)

var errLog = errors.New("the log of the simulation fails")

func newReplicaLog(s *store, reached *tally) *replicaLog {
	return &replicaLog{store: s, reached: reached, broken: make(chan struct{}), killed: make(chan struct{})}
}

// add makes the next calls of a kind go wrong.
func (l *replicaLog) add(to *[]mishap, n int, f mishap) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		*to = append(*to, f)
	}
}

// next returns the fault of a call, if it has one.
func (l *replicaLog) next(call string, of *[]mishap) (mishap, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(*of) == 0 {
		return mishap{}, false
	}
	f := (*of)[0]
	*of = (*of)[1:]
	l.reached.add(fmt.Sprintf("log: %s %s", call, f.kind))
	return f, true
}

// breakFollow ends all Follow calls with an error.
func (l *replicaLog) breakFollow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.broken)
	l.broken = make(chan struct{})
}

func (l *replicaLog) setLag(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lag = d
}

// heal ends all faults.
func (l *replicaLog) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.appends, l.reads, l.states, l.lag = nil, nil, nil, 0
}

// kill makes the process that uses the log one that is not there.
func (l *replicaLog) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.dead {
		l.dead = true
		close(l.killed)
	}
}

// alive fails for a process that was killed.
func (l *replicaLog) alive() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return errLog
	}
	return nil
}

// wait waits for a time of the bubble.
func (l *replicaLog) wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.killed:
		return errLog
	}
}

// Append implements [chatsvc.Log].
func (l *replicaLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	f, faulty := l.next("append", &l.appends)
	if err := l.alive(); err != nil {
		return chatsvc.Appended{}, err
	}
	if !faulty {
		return l.append(ctx, record, key)
	}
	switch f.kind {
	case failAfter:
		_, _ = l.append(ctx, record, key)
		return chatsvc.Appended{}, errLog
	case late: // it is on its way already: no end of the process stops it
		time.AfterFunc(f.time, func() { _, _ = l.append(context.Background(), record, key) })
		return chatsvc.Appended{}, errLog
	case slow:
		if err := l.wait(ctx, f.time); err != nil {
			return chatsvc.Appended{}, err
		}
		return l.append(ctx, record, key)
	case slowAnswer:
		got, err := l.append(ctx, record, key)
		if waitErr := l.wait(ctx, f.time); waitErr != nil {
			return chatsvc.Appended{}, waitErr
		}
		return got, err
	case twice:
		got, err := l.append(ctx, record, key)
		if err == nil && key != "" {
			return l.append(ctx, record, key)
		}
		return got, err
	case refuse:
		return chatsvc.Appended{}, connect.NewError(connect.CodeResourceExhausted, errors.New("the disk of the simulation is full: the message was not stored"))
	case block:
		<-ctx.Done()
		return chatsvc.Appended{}, ctx.Err()
	default:
		return chatsvc.Appended{}, errLog
	}
}

// append stores a record. After the end of the process it may be stored, and nobody is told.
func (l *replicaLog) append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	if !l.store.isDisk {
		return l.store.append(ctx, record, key)
	}
	log, _ := l.store.use()
	got, err := log.Append(ctx, record, key)
	if dead := l.alive(); dead != nil {
		return chatsvc.Appended{}, dead
	}
	if err == nil && !got.Duplicate {
		l.store.note(got.Epoch, got.Offset, stored{messageOf(record), record, key, time.Now()})
	}
	return got, err
}

// State implements [chatsvc.Log].
func (l *replicaLog) State(ctx context.Context) (chatsvc.State, error) {
	if f, faulty := l.next("state", &l.states); faulty {
		if err := l.spoil(ctx, f); err != nil {
			return chatsvc.State{}, err
		}
	}
	if err := l.alive(); err != nil {
		return chatsvc.State{}, err
	}
	log, _ := l.store.use()
	return log.State(ctx)
}

// spoil delays a call, or fails it.
func (l *replicaLog) spoil(ctx context.Context, f mishap) error {
	switch f.kind {
	case slow, slowAnswer, late:
		return l.wait(ctx, f.time)
	case block:
		<-ctx.Done()
		return ctx.Err()
	case twice:
		return nil
	default:
		return errLog
	}
}

// Read implements [chatsvc.Log].
func (l *replicaLog) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error) {
	f, faulty := l.next("read", &l.reads)
	if faulty {
		switch f.kind {
		case refuse: // a replica that has not heard of the record
			return chatsvc.Chunk{From: from, Next: from, First: 1}, nil
		case twice: // a part
			to, maxBytes = min(to, from+1), 1
		default:
			if err := l.spoil(ctx, f); err != nil {
				return chatsvc.Chunk{}, err
			}
		}
	}
	if err := l.alive(); err != nil {
		return chatsvc.Chunk{}, err
	}
	log, _ := l.store.use()
	got, err := log.Read(ctx, epoch, from, to, maxBytes)
	if dead := l.alive(); dead != nil {
		return chatsvc.Chunk{}, dead
	}
	return got, err
}

// Follow implements [chatsvc.Log].
func (l *replicaLog) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	log, replaced := l.store.use()
	l.mu.Lock()
	broken := l.broken
	l.mu.Unlock()
	follow, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-replaced:
			l.mu.Lock()
			lag := l.lag
			l.mu.Unlock()
			_ = l.wait(follow, lag) // a replica may learn of it later
			cancel(fmt.Errorf("%w: it was rolled back", chatsvc.ErrEpoch))
		case <-broken:
			l.reached.add("log: follow breaks")
			cancel(errLog)
		case <-l.killed:
			cancel(errLog)
		case <-follow.Done():
		}
	}()
	err := log.Follow(follow, epoch, from, func(c chatsvc.Chunk) error {
		l.mu.Lock()
		lag := l.lag
		l.mu.Unlock()
		if lag > 0 {
			if err := l.wait(follow, lag); err != nil {
				return err
			}
		}
		if err := l.alive(); err != nil {
			return err
		}
		return yield(c)
	})
	if cause := context.Cause(follow); cause != nil && ctx.Err() == nil {
		return cause
	}
	return err
}

func (k mishapKind) String() string {
	return [...]string{"fails before", "fails after", "is late", "is slow", "answers slowly", "twice", "is refused", "blocks"}[k]
}
