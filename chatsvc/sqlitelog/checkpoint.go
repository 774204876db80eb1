package sqlitelog

import (
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
)

// checkpoint copies the write-ahead log into the database.
func (w *writer) checkpoint() {
	frames, copied, err := w.runCheckpoint("PASSIVE")
	err = w.explain(err)
	if isFullError(err) {
		w.walBytes = checkpointBytes / 2 // try again soon: the data stays in the write-ahead log
		return
	}
	if err != nil {
		w.fail(fmt.Errorf("checkpoint: %w", err))
		return
	}
	w.files.forgetSizes()
	w.walBytes = frames * pageSize
	if w.walBytes < restartBytes {
		if frames == copied {
			w.walBytes = 0 // the next transaction begins from its start
		}
		return
	}
	w.log.readers.gate.Lock()
	w.conn.SetBusyTimeout(0) // senders would wait for the other process
	frames, _, err = w.runCheckpoint("RESTART")
	w.conn.SetBusyTimeout(busyTime)
	w.log.readers.gate.Unlock()
	switch {
	case isBusyError(err):
		if frames*pageSize >= pinnedBytes && time.Since(w.warnedAt) >= pinnedTime {
			w.warnedAt = time.Now()
			w.log.logger.Warn("another process reads the database and keeps its write-ahead log from being emptied: end that process",
				"file", w.log.path+walSuffix, "bytes", frames*pageSize)
		}
		w.walBytes = checkpointBytes / 2 // try again soon
	case isFullError(err):
		w.walBytes = checkpointBytes / 2
	case err != nil:
		w.fail(fmt.Errorf("checkpoint: %w", err))
	default:
		w.walBytes = 0
	}
}

// checkpointAll writes the whole write-ahead log into the database, and empties it. Then
// the content of the database is on the disk.
func (w *writer) checkpointAll() error {
	if _, _, err := w.runCheckpoint("TRUNCATE"); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	w.files.forgetSizes()
	w.walBytes = 0
	return nil
}

// runCheckpoint runs a checkpoint. It returns how many frames the write-ahead log has, and
// how many of them are in the database. It fails with SQLITE_BUSY if another process
// prevents it.
func (w *writer) runCheckpoint(mode string) (frames, copied int64, err error) {
	stmt, err := w.conn.Prepare("PRAGMA wal_checkpoint(" + mode + ")")
	if err != nil {
		return 0, 0, err
	}
	defer stmt.Reset() //nolint:errcheck // it repeats the error of Step
	more, err := stmt.Step()
	if err != nil || !more {
		return 0, 0, err
	}
	busy := stmt.ColumnInt64(0) != 0
	frames, copied = max(stmt.ColumnInt64(1), 0), max(stmt.ColumnInt64(2), 0)
	if busy && mode != "PASSIVE" {
		return frames, copied, sqlite.ResultBusy.ToError()
	}
	return frames, copied, nil
}
