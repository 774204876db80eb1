package sqlitelog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// transaction is what one transaction changes, once it is committed.
type transaction struct {
	now         int64
	entries     []chatsvc.Entry
	keys        []usedKey
	total       int64
	next        uint64
	last        int64
	first       edge
	floor       edge
	isTrimmed   bool
	expiredKeys uint64 // highest offset of keys that left the window
}

func (w *writer) begin() *transaction {
	return &transaction{
		now:   max(w.clock.now(), w.stored),
		total: w.total, next: w.next, last: w.last, first: w.first, floor: w.floor,
	}
}

// transact runs change in a transaction, which also removes what the retention does
// not allow. It reports whether the transaction may have been committed if it fails. It
// is not on the disk yet.
func (w *writer) transact(t *transaction, change func() error) (mayBeCommitted bool, err error) {
	defer func() { err = w.explain(err) }()
	if err := w.exec("BEGIN IMMEDIATE"); err != nil {
		return false, err
	}
	err = change()
	if err == nil {
		err = w.trim(t)
	}
	if err != nil {
		_ = w.rollback()
		return false, err
	}
	w.log.raiseFloor(t.floor.offset)
	if err := w.exec("COMMIT"); err != nil {
		// What SQLite writes last makes the transaction valid: where a write has failed, that
		// was not written, or not as a whole.
		isKnown := isFullError(err) || isBusyError(err) || sqlite.ErrCode(err) == sqlite.ResultIOErrWrite
		return !isKnown || w.rollback() != nil, err
	}
	w.unsynced = true
	return true, nil
}

// explain says of a failed write that there is no room, if that is why: SQLite does so
// for a full disk alone, and not for a quota.
func (w *writer) explain(err error) error {
	if err == nil || sqlite.ErrCode(err) != sqlite.ResultIOErrWrite {
		return err
	}
	if cause := w.log.system.room(w.log.dir, w.files.largest()); isNoSpace(cause) {
		if path, ok := errors.AsType[*fs.PathError](cause); ok {
			cause = path.Err // the name is another one each time, and would be another line in the log
		}
		return fmt.Errorf("%w: %w", sqlite.ResultFull.ToError(), cause)
	}
	return err
}

// tryRoom returns why a few kilobytes cannot be written to a file in a directory, behind
// an offset, nil if they can.
func tryRoom(dir string, offset int64) (err error) {
	file, err := os.CreateTemp(dir, "room-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	if _, err := file.WriteAt(make([]byte, 4*pageSize), offset); err != nil {
		return err
	}
	return file.Sync()
}

// insert stores the records of a batch that are new.
func (w *writer) insert(t *transaction, batch []*pendingAppend) error {
	stmt, err := w.conn.Prepare(insertRow)
	if err != nil {
		return err
	}
	var seen map[keySum]uint64 // keys of this batch
	epoch := w.epochs[len(w.epochs)-1].epoch
	for _, p := range batch {
		if p.hasKey {
			offset, ok := w.keys.find(p.key, t.now)
			if !ok {
				offset, ok = seen[p.key]
			}
			if ok {
				p.result = chatsvc.Appended{Epoch: epoch, Offset: offset, Duplicate: true}
				continue
			}
		}
		if p.hasKey && len(w.keys.uses)+len(t.keys) >= w.log.maxKeys {
			p.err = chatsvc.TooManyKeys(time.Duration(keyWindow-(t.now-w.keys.oldest(t.now))) * time.Millisecond)
			continue
		}
		t.total += int64(len(p.record))
		r := newRow(p.message, epoch, t.next, t.now, t.total)
		r.bind(stmt)
		if _, err := stmt.Step(); err != nil {
			_ = stmt.Reset()
			return err
		}
		if err := stmt.Reset(); err != nil {
			return err
		}
		if p.hasKey {
			if err := w.insertKey(t, p.key); err != nil {
				return err
			}
			if seen == nil {
				seen = make(map[keySum]uint64)
			}
			seen[p.key] = t.next
		}
		p.result = chatsvc.Appended{Epoch: epoch, Offset: t.next}
		t.entries = append(t.entries, chatsvc.Entry{Offset: t.next, Time: time.UnixMilli(t.now), Record: p.record})
		t.last = r.checksum
		t.next++
	}
	return nil
}

const insertKeyRow = `INSERT OR REPLACE INTO keys ("offset", key, used) VALUES (?, ?, ?)`

func (w *writer) insertKey(t *transaction, key keySum) error {
	stmt, err := w.conn.Prepare(insertKeyRow)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, int64(t.next))
	stmt.BindBytes(2, key[:])
	stmt.BindInt64(3, t.now)
	if _, err := stmt.Step(); err != nil {
		_ = stmt.Reset()
		return err
	}
	t.keys = append(t.keys, usedKey{key, t.next, t.now})
	return stmt.Reset()
}

// trim removes what the retention does not allow, a little at a time.
func (w *writer) trim(t *transaction) error {
	to := end{t.next, t.total, t.now}
	limit := 2*len(t.entries) + trimRows
	if len(t.entries) == 0 {
		limit = idleTrimRows
	}
	if err := t.first.advance(w.conn, to, 1<<30); err != nil {
		return err
	}
	// What subscribers are told is retained stays: this transaction may fail.
	limit = min(limit, int(w.first.offset-min(t.floor.offset, w.first.offset)))
	from := t.floor.offset
	if err := t.floor.advance(w.conn, to, limit); err != nil {
		return err
	}
	if t.floor.offset > from {
		t.isTrimmed = true
		if err := w.deleteRange("messages", from, t.floor.offset); err != nil {
			return err
		}
	}
	if t.expiredKeys = w.keys.expired(t.now, maxCommit); t.expiredKeys > 0 {
		t.isTrimmed = true
		if err := w.deleteRange("keys", 0, t.expiredKeys+1); err != nil {
			return err
		}
	}
	if t.isTrimmed {
		return w.vacuum()
	}
	return nil
}

// deleteRange deletes rows in [from, to). It begins where the last one ended: SQLite
// ends at a damaged row whose offset is too large, and it would so each time.
func (w *writer) deleteRange(table string, from, to uint64) error {
	stmt, err := w.conn.Prepare(`DELETE FROM ` + table + ` WHERE "offset" >= ? AND "offset" < ?`)
	if err != nil {
		return err
	}
	stmt.BindInt64(1, int64(from))
	stmt.BindInt64(2, int64(to))
	if _, err := stmt.Step(); err != nil {
		_ = stmt.Reset()
		return err
	}
	return stmt.Reset()
}

// deleteFrom removes what nothing proves behind the end of the log.
func (w *writer) deleteFrom(offset uint64) error {
	return pragma(w.conn, fmt.Sprintf(`DELETE FROM messages WHERE "offset" >= %d`, offset))
}

// vacuum gives some free pages back to the file system.
func (w *writer) vacuum() error {
	stmt, err := w.conn.Prepare(`PRAGMA incremental_vacuum(64)`)
	if err != nil {
		return err
	}
	for {
		more, err := stmt.Step()
		if err != nil || !more {
			return errors.Join(err, stmt.Reset())
		}
	}
}

// exec runs a statement without parameters and rows.
func (w *writer) exec(text string) error {
	stmt, err := w.conn.Prepare(text)
	if err != nil {
		return err
	}
	if _, err := stmt.Step(); err != nil {
		_ = stmt.Reset()
		return err
	}
	return stmt.Reset()
}

// rollback ends a transaction that has failed, unless SQLite has.
func (w *writer) rollback() error {
	if w.conn.AutocommitEnabled() {
		return nil
	}
	return w.exec("ROLLBACK")
}

// note writes what is about to be acknowledged to the evidence.
func (w *writer) note(t *transaction) error {
	e := w.evidenceNow()
	e.Offset, e.Checksum = t.next-1, t.last
	e.Empty = t.next > 1 && t.floor.offset >= t.next
	w.noted = true
	return w.evidence.write(e)
}
