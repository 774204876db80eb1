package sqlitelog

import (
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// readChanges reads the redactions of another process.
func (w *writer) readChanges() error {
	version, _, err := w.pragmaInt("PRAGMA data_version")
	if err != nil || version == w.dataVersion {
		return err
	}
	w.dataVersion = version
	redacted, err := readRedactions(w.conn)
	if err != nil {
		return err
	}
	l := w.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(redacted) == len(l.redacted) {
		return nil
	}
	l.redacted = redacted
	l.recent.reset()
	l.announce()
	w.isRedacted = true
	return nil
}

// scrub removes redacted messages from the write-ahead log. If another process reads
// it, the next call tries again.
func (w *writer) scrub() error {
	if !w.isRedacted {
		return nil
	}
	if time.Since(w.scrubbedAt) < scrubEvery {
		return nil
	}
	w.scrubbedAt = time.Now()
	w.log.readers.gate.Lock()
	defer w.log.readers.gate.Unlock()
	w.conn.SetBusyTimeout(0) // senders would wait for the other process
	err := w.checkpointAll()
	w.conn.SetBusyTimeout(busyTime)
	w.isRedacted = isBusyError(err)
	if w.isRedacted {
		return nil
	}
	return err
}

// readRedactions returns the offsets of the redacted messages.
func readRedactions(conn *sqlite.Conn) (map[uint64]struct{}, error) {
	redacted := make(map[uint64]struct{})
	err := sqlitex.ExecuteTransient(conn, `SELECT "offset" FROM redactions`, &sqlitex.ExecOptions{
		ResultFunc: func(stmt *sqlite.Stmt) error {
			redacted[uint64(stmt.ColumnInt64(0))] = struct{}{}
			return nil
		},
	})
	return redacted, err
}
