package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"zombiezen.com/go/sqlite"
)

// NewEpoch begins another epoch in the log of a directory, and returns the old and the new
// epoch. Clients then start again at the first retained message. It fails with
// [ErrInUse] while a server uses the directory.
func NewEpoch(ctx context.Context, dir string) (was, is string, err error) {
	reader, err := OpenReader(dir)
	if err != nil {
		return "", "", err
	}
	state, err := reader.State(ctx)
	if err == nil {
		err = reader.loss(state) // writing would destroy messages that a repair can find
	}
	if err == nil && reader.lock == nil {
		err = ErrInUse
	}
	ev := reader.ev
	if err = errors.Join(err, reader.Close()); err != nil {
		return "", "", fmt.Errorf("%s: %w", dir, err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return "", "", fmt.Errorf("%s: %w", dir, err)
	}
	if lock == nil {
		return "", "", fmt.Errorf("%s: it cannot be written to", dir)
	}
	is = newEpoch()
	if ev, err = beginEpoch(dir, epochStart{state.Next, is}, ev); err == nil {
		err = writeEvidence(dir, ev)
	}
	return state.Epoch, is, errors.Join(err, lock.Close())
}

// beginEpoch begins an epoch in the database, and returns the evidence for it.
func beginEpoch(dir string, e epochStart, ev evidence) (evidence, error) {
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		return ev, err
	}
	err = pragma(conn, "PRAGMA synchronous = FULL")
	if err == nil {
		err = addEpoch(conn, e)
	}
	if err == nil {
		err = truncateWAL(conn)
	}
	checksum, isThere, lastErr := lastChecksum(conn)
	ev.Epoch, ev.Offset, ev.Closed, ev.Failed = e.epoch, e.from-1, true, false
	if isThere {
		ev.Checksum = checksum
	}
	return ev, errors.Join(err, lastErr, conn.Close())
}
