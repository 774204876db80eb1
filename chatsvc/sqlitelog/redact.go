package sqlitelog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

const (
	// scrubTime is how long Redact waits until a server has removed a redacted message
	// from its write-ahead log.
	scrubTime = 2 * time.Second
	// scrubPause is the time between two checks of the write-ahead log.
	scrubPause = 50 * time.Millisecond
)

// ErrTextRemains is wrapped by the error of [Redact] if the message is no longer
// delivered, but an unused part of the database file still contains it.
var ErrTextRemains = errors.New("the message is redacted, but its text remains in an unused part of the file: stop the server, and run the command again")

// Redact replaces a message by an empty one, even while a server uses the directory; the
// server then delivers the empty message. When Redact returns nil, the message
// is neither in the database file nor in its write-ahead log. Copies in other places, and
// those that a server or [Repair] made in the directory, still contain it.
func Redact(ctx context.Context, dir string, offset uint64) error {
	reader, err := OpenReader(dir)
	if err != nil {
		return err
	}
	state, err := reader.State(ctx)
	if err == nil {
		err = reader.loss(state) // writing would destroy messages that a repair can find
	}
	if err = errors.Join(err, reader.Close()); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if offset < state.First || offset >= state.Next {
		return fmt.Errorf("%s: there is no message %d: the log has %d to %d", dir, offset, state.First, state.Next-1)
	}
	lock, err := lockDirectory(dir)
	if err != nil && !errors.Is(err, ErrInUse) {
		return fmt.Errorf("%s: %w", dir, err)
	}
	r := redaction{path: filepath.Join(dir, DatabaseFile), offset: offset, lock: lock}
	err = r.run(ctx)
	if lock != nil {
		err = errors.Join(err, lock.Close())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// redaction is one call of Redact.
type redaction struct {
	path   string
	offset uint64
	lock   *flock.Flock // nil while a server has the directory
	epochs []epochStart
}

func (r *redaction) run(ctx context.Context) error {
	if err := r.withConn(r.replace); err != nil {
		return err
	}
	if r.lock == nil { // the server empties its write-ahead log when it sees the redaction
		if err := r.awaitServer(ctx); err != nil {
			return err
		}
	}
	isLeft, err := r.isLeft(ctx)
	if err == nil && isLeft {
		if err = r.withConn(truncateWAL); err == nil {
			isLeft, err = r.isLeft(ctx)
		}
	}
	switch {
	case err != nil || !isLeft:
		return err
	case r.lock == nil:
		return ErrTextRemains
	}
	return r.withConn(func(conn *sqlite.Conn) error { // it writes the whole file again
		return errors.Join(pragma(conn, "VACUUM"), truncateWAL(conn))
	})
}

// withConn calls f with a connection that overwrites removed content.
func (r *redaction) withConn(f func(conn *sqlite.Conn) error) error {
	conn, err := openConn(r.path, sqlite.OpenReadWrite, "")
	if err != nil {
		return err
	}
	err = pragma(conn, "PRAGMA secure_delete = ON", "PRAGMA synchronous = FULL")
	if err == nil {
		err = f(conn)
	}
	return errors.Join(err, conn.Close())
}

// replace replaces the row by an empty one.
func (r *redaction) replace(conn *sqlite.Conn) (err error) {
	if err := pragma(conn, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = pragma(conn, "ROLLBACK")
		}
	}()
	if r.epochs, err = readEpochs(conn); err != nil {
		return err
	}
	is, err := r.rowAt(conn)
	if err != nil {
		return err
	}
	is = is.emptied()
	err = sqlitex.ExecuteTransient(conn, `UPDATE messages SET stored = ?, timestamp = 0, sender = '', type = 0, total = ?, checksum = ?, content = x'' WHERE "offset" = ?`,
		&sqlitex.ExecOptions{Args: []any{is.stored, is.total, is.sum(epochAt(r.epochs, r.offset)), int64(r.offset)}})
	if err != nil {
		return err
	}
	err = sqlitex.ExecuteTransient(conn, `INSERT OR IGNORE INTO redactions ("offset", time) VALUES (?, ?)`,
		&sqlitex.ExecOptions{Args: []any{int64(r.offset), time.Now().UnixMilli()}})
	if err != nil {
		return err
	}
	return pragma(conn, "COMMIT")
}

// rowAt returns the row that will be replaced, without its message. If the row is damaged,
// the time and the sum come from the row before, because the new row will get a right
// checksum.
func (r *redaction) rowAt(conn *sqlite.Conn) (row, error) {
	_, isThere, err := queryInt(conn, `SELECT 1 FROM messages WHERE "offset" = ?`, int64(r.offset))
	switch {
	case err != nil:
		return row{}, explain(err)
	case !isThere:
		return row{}, fmt.Errorf("message %d was removed, or cannot be read", r.offset)
	}
	rows := newScanner(r.epochs)
	is, isProven, err := rows.before(conn, r.offset+1)
	if err == nil && !isProven { // it is the first one
		is, isProven, err = rows.from(conn, r.offset)
		is.total -= int64(is.message().Size())
	}
	switch {
	case err != nil:
		return row{}, explain(err)
	case !isProven:
		return row{}, fmt.Errorf("message %d and all others are damaged", r.offset)
	}
	is.offset = r.offset
	return is, nil
}

// awaitServer waits until the server has written its write-ahead log into the database,
// for at most scrubTime.
func (r *redaction) awaitServer(ctx context.Context) error {
	pause := time.NewTicker(scrubPause)
	defer pause.Stop()
	was, err := r.walSalts()
	for last := time.Now().Add(scrubTime); err == nil && was != nil && time.Now().Before(last); {
		select {
		case <-pause.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		var is []byte
		if is, err = r.walSalts(); !bytes.Equal(is, was) {
			break
		}
	}
	return err
}

// walSalts returns the salts of the write-ahead log, which change whenever it begins from
// its start (https://www.sqlite.org/fileformat2.html, "WAL File Format"), or nil if it is
// empty.
func (r *redaction) walSalts() ([]byte, error) {
	file, closeFile, err := openRaw(r.path + walSuffix)
	if err != nil || file.Reader == nil {
		return nil, err
	}
	defer closeFile()
	salts := make([]byte, 8)
	if _, err := file.Reader.ReadAt(salts, 16); err != nil {
		return nil, nil // it is too short for a header
	}
	return salts, nil
}

// isLeft reports whether the message is still in the database file or in the
// write-ahead log.
func (r *redaction) isLeft(ctx context.Context) (bool, error) {
	database, closeDatabase, err := openRaw(r.path)
	if err != nil {
		return false, err
	}
	defer closeDatabase()
	wal, closeWAL, err := openRaw(r.path + walSuffix)
	if err != nil {
		return false, err
	}
	defer closeWAL()
	errFound := errors.New("found")
	_, err = salvage.Rows(ctx, database, wal, func(found salvage.Row) bool {
		if found.Offset != r.offset || found.Sender == "" {
			return false
		}
		candidate := rowOf(found)
		for _, e := range r.epochs {
			if candidate.sum(e.epoch) == candidate.checksum {
				return true
			}
		}
		return false
	}, func(salvage.Found) error { return errFound }, nil)
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// truncateWAL writes the write-ahead log into the database and empties it.
func truncateWAL(conn *sqlite.Conn) error {
	busy, _, err := queryInt(conn, "PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != 0 {
		err = errors.New("another process reads the database and keeps its write-ahead log from being emptied: end that process, and run the command again")
	}
	return err
}
