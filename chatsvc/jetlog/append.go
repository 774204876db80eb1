package jetlog

import (
	"context"
	"errors"
	"syscall"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// What a sender is told; the cause is for the server's log.
var (
	errSendAgain = errors.New("the log cannot store the message now: send it again")
	errFull      = errors.New("the server's disk is full: send the message again when there is room")
)

// Append implements [chatsvc.Log]. It waits for at most two seconds for a
// cluster, and thirty for a disk. While nothing can be stored it fails at once.
// Errors have the code unavailable, or resource_exhausted if the disk is full.
func (l *Log) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	if err := ctx.Err(); err != nil {
		return appendedNowhere, err
	}
	if err := l.Err(); err != nil {
		return appendedNowhere, refusal(err)
	}
	a := newAppend(record, key)
	if l.group != nil {
		l.group.add(a)
	} else if err := l.publisher.publish(a); err != nil {
		return appendedNowhere, refusal(err)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return appendedNowhere, ctx.Err()
	}
	if a.err == nil {
		return a.appended, nil
	}
	if l.Err() == nil {
		l.logger.Warn("append", "error", a.err)
		l.suspect(a.err)
	}
	return appendedNowhere, refusal(a.err)
}

// refusal returns what the sender sees, with the cause beside it.
func refusal(cause error) error {
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		return errors.Join(connect.NewError(connect.CodeResourceExhausted, errFull), cause)
	}
	return errors.Join(connect.NewError(connect.CodeUnavailable, errSendAgain), cause)
}
