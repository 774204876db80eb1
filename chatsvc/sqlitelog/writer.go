package sqlitelog

import (
	"fmt"
	"os"
	"time"

	"connectrpc.com/connect"
	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

const (
	// maxCommit and maxCommitBytes bound the size of one transaction, apart from the rest of
	// the records that AppendOrdered was given.
	maxCommit      = 4096
	maxCommitBytes = 4 << 20
	// tickTime is the time between two checks of the writer for other work while no
	// message is sent.
	tickTime = 250 * time.Millisecond
	// A transaction of gatherFrom records or more is followed by a pause, so that the
	// senders that were answered can send again: a transaction costs as much as about
	// twenty records. The pause is gatherTime for each record, at most maxGather. A
	// single sender never waits.
	gatherFrom = 4
	gatherTime = 10 * time.Microsecond
	maxGather  = time.Millisecond
	// trimRows is how many rows a transaction removes beyond twice the number that it
	// stores, so that a lower retention is reached in the end.
	trimRows = 64
	// idleTrimRows is how many rows are removed at a time while no message is sent.
	idleTrimRows = 1024
)

// writer is the state of the only goroutine that changes the database. It is not safe for
// concurrent use.
type writer struct {
	maintenance

	log         *Log
	conn        *sqlite.Conn // nil while the database cannot be written
	files       *watchedFiles
	evidence    *evidenceStore // nil while conn is
	keys        recentKeys
	clock       *clock
	pendingSync *pendingSync // nil while no sync is under way
	synced      chan error
	first       edge // of the records that are reported
	floor       edge // of the records that are stored
	rows        *scanner
	// hasDamagedEnd means that the rows after the last message are damaged.
	hasDamagedEnd bool
	epochs        []epochStart
	next          uint64
	total         int64 // sum of the sizes of all records
	stored        int64 // when the last record was stored, in log time
	last          int64 // checksum of the last record

	broken     error // why conn must be opened again; nil if it works
	triedAt    time.Time
	aside      string         // directory with a copy of the files as they were found; empty: none yet
	mayRepair  bool           // a damaged database may be repaired, because it is not in use yet
	isReadOnly bool           // a view serves the messages
	copied     string         // a temporary directory with a copy; empty: none
	abandoned  os.FileInfo    // the file of the last leaked connection that could not be read
	leaked     []*sqlite.Conn // connections that must not be closed
	isFull     bool           // the disk had no room for the last transaction
	lacked     int64          // bytes that it needed
	served     int            // number of records that the last call of serve stored
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
			w.finishSync(err)
		case <-tick.C:
		case <-w.log.stop:
			w.awaitSync()
			w.log.appends.close(ErrClosed)
			for _, p := range w.log.appends.take() {
				p.end(chatsvc.Appended{}, ErrClosed)
			}
			w.log.closeErr = w.close()
			return
		}
		if w.pendingSync == nil {
			w.maintain()
		}
	}
}

// serve stores all waiting appends.
func (w *writer) serve() {
	batch := w.log.appends.take()
	w.served = len(batch)
	for len(batch) > 0 {
		n, bytes := 0, 0
		for n < len(batch) && (n < maxCommit && bytes < maxCommitBytes || batch[n].inOrder) {
			bytes += len(batch[n].record)
			n++
		}
		w.commit(batch[:n])
		batch = batch[n:]
	}
}

// commit stores a batch. The batch is answered when it is on the disk.
func (w *writer) commit(batch []*pendingAppend) {
	w.awaitSync()
	w.maintain() // under load a sync is always running, so this is the only chance
	if err := w.ready(); err != nil {
		answer(batch, refusal(err))
		return
	}
	t, began := w.begin(), time.Now()
	isCommitted, err := w.transact(t, func() error { return w.insert(t, batch) })
	switch {
	case err == nil:
		w.startSync(&pendingSync{t, batch, began})
	case isCommitted:
		w.fail(err)
		answer(batch, connect.NewError(connect.CodeUnavailable, errUnknown))
	default:
		w.lacked = 4 * pageSize
		for _, p := range batch {
			w.lacked += int64(len(p.record))
		}
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

// evidenceNow returns the evidence for the acknowledged records.
func (w *writer) evidenceNow() evidence {
	return evidence{
		Epoch:    w.epochs[len(w.epochs)-1].epoch,
		Offset:   w.next - 1,
		Checksum: w.last,
		Interval: w.log.interval > 0,
		Empty:    w.next > 1 && w.floor.offset >= w.next,
		Clock:    w.clock.reading(w.log.system.boot()),
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

// fail notes that the database must be opened again before anything else is
// acknowledged: after a failed sync, the system's cache may contain data that the disk
// never received.
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
