package sqlitelog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"zombiezen.com/go/sqlite"
)

// NewEpoch begins another epoch in the log of a directory, and returns both. Clients
// start at the first retained message then, wherever they were. It fails with
// [ErrInUse] while a server has the directory.
func NewEpoch(ctx context.Context, dir string) (was, is string, err error) {
	reader, err := OpenReader(dir)
	if err != nil {
		return "", "", err
	}
	state, err := reader.State(ctx)
	if err == nil {
		err = reader.loss(state) // to write would destroy what a repair finds
	}
	if err == nil && reader.lock == nil {
		err = ErrInUse
	}
	mark := reader.mark
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
	if mark, err = beginEpoch(dir, epochStart{state.Next, is}, mark); err == nil {
		err = writeEvidence(dir, mark)
	}
	return state.Epoch, is, errors.Join(err, lock.Close())
}

// beginEpoch begins an epoch in the database, and returns the evidence for it.
func beginEpoch(dir string, e epochStart, mark evidence) (evidence, error) {
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		return mark, err
	}
	err = pragma(conn, "PRAGMA synchronous = FULL")
	if err == nil {
		err = addEpoch(conn, e)
	}
	if err == nil {
		err = truncateWAL(conn)
	}
	checksum, isThere, lastErr := lastChecksum(conn)
	mark.Epoch, mark.Offset, mark.Closed, mark.Failed = e.epoch, e.from-1, true, false
	if isThere {
		mark.Checksum = checksum
	}
	return mark, errors.Join(err, lastErr, conn.Close())
}
