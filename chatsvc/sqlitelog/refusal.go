package sqlitelog

import (
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"zombiezen.com/go/sqlite"
)

var (
	// errUnknown is the error for senders after a failed sync or a similar failure.
	errUnknown = errors.New("it is not known whether the message was stored: send it again with its Idempotency-Key")
	// errNotWritable is the error for senders while the database or its directory is
	// read-only.
	errNotWritable = errors.New("the server's disk is read-only, the message was not stored: send it again when the disk can be written")
	// errFull is the error for senders while the disk or the quota is full.
	errFull = errors.New("the server's disk is full, the message was not stored: send it again when the disk has room")
)

// isFullError reports whether SQLite had no room. Then nothing was stored.
func isFullError(err error) bool { return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultFull }

// isBusyError reports whether another process had the database locked.
func isBusyError(err error) bool { return sqlite.ErrCode(err).ToPrimary() == sqlite.ResultBusy }

// refused notes why a transaction was not committed, and returns the error for the
// senders.
func (w *writer) refused(err error) error {
	switch {
	case isFullError(err):
		w.isFull = true
		w.log.setDown(fmt.Errorf("the disk is full: %w", err))
		return connect.NewError(connect.CodeResourceExhausted, errFull)
	case isBusyError(err):
		w.log.setDown(fmt.Errorf("another process is writing to %s: %w", DatabaseFile, err))
	default:
		w.fail(err)
	}
	return refusal(err)
}

// refusal returns the error for senders whose message was not stored. The cause goes to
// the server's log.
func refusal(err error) error {
	if _, ok := errors.AsType[*connect.Error](err); ok {
		return err
	}
	switch {
	case isNoSpace(err), isFullError(err), sqlite.ErrCode(err) == sqlite.ResultIOErrSHMSize: // the file -shm did not fit
		return connect.NewError(connect.CodeResourceExhausted, errFull)
	case isReadOnly(err), sqlite.ErrCode(err).ToPrimary() == sqlite.ResultReadOnly:
		return connect.NewError(connect.CodeUnavailable, errNotWritable)
	}
	return connect.NewError(connect.CodeUnavailable, errors.New("the server cannot store messages now, and this message was not stored: send it again later"))
}
