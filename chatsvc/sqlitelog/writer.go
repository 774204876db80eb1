package sqlitelog

import (
	"errors"
	"fmt"
	"os"
	"time"

	"connectrpc.com/connect"
	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

const (
	// maxCommit and maxCommitBytes bound what one transaction stores.
	maxCommit      = 4096
	maxCommitBytes = 4 << 20
	// tickTime is how often the writer looks what there is to do while nobody sends.
	tickTime = 250 * time.Millisecond
	// A transaction of gatherFrom records or more is followed by a pause, in which those
	// that were answered send again: a transaction costs as much as some twenty records
	// do. It is as long as that takes, gatherTime for each, and at most maxGather. A
	// single sender never waits.
	gatherFrom = 4
	gatherTime = 10 * time.Microsecond
	maxGather  = time.Millisecond
	// trimRows is how many rows a transaction removes beyond twice the number that it
	// stores, so that a lower retention is reached in the end.
	trimRows = 64
	// idleTrimRows is how many are removed at a time while nobody sends.
	idleTrimRows = 1024
)

// writer is the one goroutine that changes the database. It is not safe for
// concurrent use.
type writer struct {
	maintenance

	log      *Log
	conn     *sqlite.Conn // nil while the database cannot be written
	files    *watchedFiles
	evidence *evidenceStore // nil while conn is
	keys     recentKeys
	clock    *clock
	flight   *flight // nil while no sync is under way
	synced   chan error
	first    edge // what is reported
	floor    edge // what is stored
	rows     *scanner
	// hasDamagedEnd tells that nothing proves what is stored behind the last message.
	hasDamagedEnd bool
	epochs        []epochStart
	next          uint64
	total         int64 // sum of the sizes of all records
	stored        int64 // when the last one was stored, in log time
	last          int64 // its checksum

	broken     error // why conn must be opened again; nil while it need not
	triedAt    time.Time
	aside      string         // copy of the files as they were found, empty: none yet
	mayRepair  bool           // a damaged database will be repaired: nobody uses it yet
	isReadOnly bool           // messages are served by a view
	copied     string         // a temporary directory that holds a copy; empty: none
	abandoned  os.FileInfo    // the file of the last one of leaked that could not be read
	leaked     []*sqlite.Conn // whose files are no longer those of the directory
	isFull     bool           // the disk had no room for the last transaction
	served     int            // records of the last transactions, taken together
	unsynced   bool           // acknowledged records may not be on the disk yet
	noted      bool           // the evidence was written since it was synced
	syncedAt   time.Time
	notedAt    time.Time
}

func newWriter(l *Log) *writer {
	return &writer{log: l, files: newWatchedFiles(l.dir), synced: make(chan error, 1)}
}

// run serves appends until the log is closed.
func (w *writer) run() {
	defer close(w.log.ended)
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	gathered := time.NewTimer(0)
	defer gathered.Stop()
	for {
		select {
		case <-w.log.appends.arrived:
			if w.served >= gatherFrom {
				gathered.Reset(min(time.Duration(w.served)*gatherTime, maxGather))
				continue
			}
			w.serve()
		case <-gathered.C:
			w.serve()
		case err := <-w.synced:
			w.land(err)
		case <-tick.C:
		case <-w.log.stop:
			w.settle()
			w.log.appends.close(ErrClosed)
			for _, p := range w.log.appends.take() {
				p.end(chatsvc.Appended{}, ErrClosed)
			}
			w.log.closeErr = w.close()
			return
		}
		if w.flight == nil {
			w.maintain()
		}
	}
}

// serve stores what waits.
func (w *writer) serve() {
	batch := w.log.appends.take()
	w.served = len(batch)
	for len(batch) > 0 {
		n, bytes := 0, 0
		for n < len(batch) && n < maxCommit && bytes < maxCommitBytes {
			bytes += len(batch[n].record)
			n++
		}
		w.commit(batch[:n])
		batch = batch[n:]
	}
}

// commit stores a batch, which is answered when it is on the disk.
func (w *writer) commit(batch []*pendingAppend) {
	w.settle()
	w.maintain() // a sync is always under way while many send
	if err := w.ready(); err != nil {
		answer(batch, refusal(err))
		return
	}
	t, began := w.begin(), time.Now()
	isCommitted, err := w.transact(t, func() error { return w.insert(t, batch) })
	switch {
	case err == nil:
		w.launch(&flight{t, batch, began})
	case isCommitted:
		w.fail(err)
		answer(batch, connect.NewError(connect.CodeUnavailable, errUnknown))
	default:
		answer(batch, w.refused(err))
	}
}

// answer ends the appends of a batch, each with its own result or all with err.
func answer(batch []*pendingAppend, err error) {
	for _, p := range batch {
		if err != nil {
			p.end(chatsvc.Appended{}, err)
			continue
		}
		p.end(p.result, p.err)
	}
}

// evidenceNow returns the evidence for what is acknowledged.
func (w *writer) evidenceNow() evidence {
	return evidence{
		Epoch:    w.epochs[len(w.epochs)-1].epoch,
		Offset:   w.next - 1,
		Checksum: w.last,
		Interval: w.log.interval > 0,
		Empty:    w.next > 1 && w.floor.offset >= w.next,
		Clock:    w.clock.mark(w.log.system.boot()),
	}
}

// publish makes a transaction visible.
func (w *writer) publish(t *transaction) {
	w.total, w.next, w.last, w.first, w.floor = t.total, t.next, t.last, t.first, t.floor
	w.stored = t.now
	w.keys.drop(t.expiredKeys)
	for _, k := range t.keys {
		w.keys.add(k)
	}
	w.grow(t)
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next, l.first, l.floor = w.next, w.first.offset, w.floor.offset
	if len(t.entries) > 0 {
		l.recent.add(t.entries)
		l.announce()
	}
}

var (
	// errUnknown is what senders see after a failed sync or the like.
	errUnknown = errors.New("it is not known whether the message was stored: send it again with its Idempotency-Key")
	// errNotWritable is what senders see while the database or its directory is
	// read-only.
	errNotWritable = errors.New("the server's disk is read-only, the message was not stored: send it again when it can be written")
	// errFull is what senders see while the disk or the quota is full.
	errFull = errors.New("the server's disk is full, the message was not stored: send it again when there is room")
)

// isFullError reports whether SQLite had no room: nothing was stored.
func isFullError(err error) bool { return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull }

// isBusyError reports whether another process had the database locked.
func isBusyError(err error) bool { return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy }

// refused notes why a transaction was not committed, and returns what senders see.
func (w *writer) refused(err error) error {
	switch {
	case isFullError(err):
		w.isFull = true
		w.log.setDown(fmt.Errorf("the disk is full: %w", err))
		return connect.NewError(connect.CodeResourceExhausted, errFull)
	case isBusyError(err):
		w.log.setDown(fmt.Errorf("another process is writing to %s: %w", DatabaseFile, err))
	default:
		w.fail(err)
	}
	return refusal(err)
}

// refusal returns what senders see if their message was not stored; the cause is in
// the log.
func refusal(err error) error {
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return err
	}
	switch {
	case isNoSpace(err), isFullError(err), sqlite.ErrCode(err) == sqlite.ResultIOErrSHMSize: // the file -shm did not fit
		return connect.NewError(connect.CodeResourceExhausted, errFull)
	case isReadOnly(err), sqlite.ErrCode(err).ToPrimary() == sqlite.ResultReadOnly:
		return connect.NewError(connect.CodeUnavailable, errNotWritable)
	}
	return connect.NewError(connect.CodeUnavailable, errors.New("the server cannot store messages now, this one was not: send it again later"))
}

// fail notes that the database must be opened again before anything more is
// acknowledged: after a failed sync the system may show what the disk never received.
func (w *writer) fail(err error) {
	if isUnreadable(err) {
		err = fmt.Errorf("%w: stop the server and run simplechat log repair --data %s", err, w.log.dir)
	}
	w.broken = err
	w.triedAt = time.Now()
	if w.evidence != nil {
		e := w.evidenceNow()
		e.Failed = true
		if err := w.evidence.write(e); err == nil {
			_ = w.evidence.sync()
		}
	}
	w.log.setDown(err)
}
