package sqlitelog

import (
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// transaction is the changes of one transaction, which take effect when it is committed.
type transaction struct {
	now         int64
	entries     []chatsvc.Entry
	keys        []keyUse
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

// transact runs change in a transaction, which also removes the records that the retention
// does not allow. If it fails, it reports whether the transaction may have been committed
// anyway. The transaction is not on the disk yet.
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
		// SQLite's last write makes the transaction valid: if a write has failed, that one
		// was not written, or not completely.
		isKnown := isFullError(err) || isBusyError(err) || sqlite.ErrCode(err) == sqlite.ResultIOErrWrite
		return !isKnown || w.rollback() != nil, err
	}
	w.unsynced = true
	return true, nil
}

// insert stores the new records of a batch, without the duplicates.
func (w *writer) insert(t *transaction, batch []*pendingAppend) error {
	stmt, err := w.conn.Prepare(insertRow)
	if err != nil {
		return err
	}
	var seen map[keyHash]uint64 // keys of this batch
	epoch := w.epochs[len(w.epochs)-1].epoch
	for i, p := range batch {
		if p.inOrder && batch[i-1].err != nil {
			p.err = batch[i-1].err
			continue
		}
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
				seen = make(map[keyHash]uint64)
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

func (w *writer) insertKey(t *transaction, key keyHash) error {
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
	t.keys = append(t.keys, keyUse{key, t.next, t.now})
	return stmt.Reset()
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

// rollback ends a failed transaction, unless SQLite has ended it.
func (w *writer) rollback() error {
	if w.conn.AutocommitEnabled() {
		return nil
	}
	return w.exec("ROLLBACK")
}

// note writes the evidence for a transaction that is about to be acknowledged.
func (w *writer) note(t *transaction) error {
	e := w.evidenceNow()
	e.Offset, e.Checksum = t.next-1, t.last
	e.Empty = t.next > 1 && t.floor.offset >= t.next
	w.noted = true
	return w.evidence.write(e)
}
