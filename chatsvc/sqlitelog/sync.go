package sqlitelog

import (
	"os"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/fault"
)

// flight is a transaction that is committed, and on its way to the disk.
type flight struct {
	transaction *transaction
	batch       []*pendingAppend
	began       time.Time
}

// launch syncs a transaction: SQLite does not (synchronous=NORMAL), as it would sync in
// COMMIT, and the file's times too. While the disk works, the writer
// gathers the next batch. A transaction of few senders is synced here,
// without the switch to another goroutine.
func (w *writer) launch(f *flight) {
	w.flight = f
	fault.At(fault.Committed)
	if w.log.interval > 0 {
		w.land(nil)
		return
	}
	wal, err := w.files.openWAL()
	switch {
	case err != nil:
		w.land(err)
	case len(f.batch) < gatherFrom:
		w.land(w.syncWAL(wal))
	default:
		go func() { w.synced <- w.syncWAL(wal) }()
	}
}

// syncWAL syncs a transaction.
func (w *writer) syncWAL(wal *os.File) error {
	err := w.log.system.sync(wal)
	if err == nil {
		fault.At(fault.Synced)
	}
	return err
}

// settle waits until no sync is under way.
func (w *writer) settle() {
	if w.flight != nil {
		w.land(<-w.synced)
	}
}

// land answers the batch of the transaction that was synced.
func (w *writer) land(err error) {
	f := w.flight
	w.flight = nil
	if observe := w.log.onCommit; observe != nil && len(f.batch) > 0 {
		observe(time.Since(f.began))
	}
	if err == nil {
		err = w.files.check()
	}
	if err == nil && len(f.transaction.entries) > 0 {
		err = w.files.prove()
	}
	if err == nil {
		err = w.note(f.transaction)
	}
	if err != nil {
		w.fail(err)
		answer(f.batch, connect.NewError(connect.CodeUnavailable, errUnknown))
		return
	}
	if w.log.interval == 0 {
		w.unsynced = false
	}
	w.isFull = false
	w.log.setDown(nil)
	w.publish(f.transaction)
	answer(f.batch, nil)
}

// sync writes what was acknowledged to the disk, where --sync is an interval.
func (w *writer) sync() {
	w.syncedAt = time.Now()
	wal, err := w.files.openWAL()
	if err == nil {
		err = w.log.system.sync(wal)
	}
	if err != nil {
		w.fail(err)
		return
	}
	w.unsynced = false
}
