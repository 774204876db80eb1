package sqlitelog

import (
	"os"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/internal/fault"
)

// pendingSync is a committed transaction that is being written to the disk.
type pendingSync struct {
	transaction *transaction
	batch       []*pendingAppend
	began       time.Time
}

// startSync syncs a transaction. SQLite does not do that here (synchronous=NORMAL): it would
// sync within COMMIT, and the times of the file too. While the disk writes, the writer
// gathers the next batch. A transaction of few senders is synced directly, without
// another goroutine.
func (w *writer) startSync(f *pendingSync) {
	w.pendingSync = f
	fault.At(fault.Committed)
	if w.log.interval > 0 {
		w.finishSync(nil)
		return
	}
	wal, err := w.files.openWAL()
	switch {
	case err != nil:
		w.finishSync(err)
	case len(f.batch) < gatherFrom:
		w.finishSync(w.syncWAL(wal))
	default:
		go func() { w.synced <- w.syncWAL(wal) }()
	}
}

// syncWAL syncs the write-ahead log.
func (w *writer) syncWAL(wal *os.File) error {
	err := w.log.system.sync(wal)
	if err == nil {
		fault.At(fault.Synced)
	}
	return err
}

// awaitSync waits until no sync is running.
func (w *writer) awaitSync() {
	if w.pendingSync != nil {
		w.finishSync(<-w.synced)
	}
}

// finishSync answers the batch of the transaction that was synced.
func (w *writer) finishSync(err error) {
	f := w.pendingSync
	w.pendingSync = nil
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
	if w.log.interval == SyncAlways {
		w.unsynced = false
	}
	w.isFull = false
	w.log.setDown(nil)
	w.publish(f.transaction)
	answer(f.batch, nil)
}

// sync writes acknowledged records to the disk if SyncInterval is an interval.
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
