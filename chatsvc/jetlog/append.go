package jetlog

import (
	"context"
	"errors"
	"net/http"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// What a sender is told; the cause is for the server's log.
var (
	errSendAgain = errors.New("the log cannot store the message now: send it again")
	errFull      = errors.New("the server's disk is full: send the message again when there is room")
)

// pendingAppend is one append under way.
type pendingAppend struct {
	record []byte
	id     string // JetStream's message id, that of the key; empty: none
	begun  time.Time
	done   chan struct{}

	// What the log knew of the stream when the append began.
	epoch   string
	turned  <-chan struct{} // closed when the stream is seen with another epoch
	highest uint64          // offset that it has given

	// The result, once done is closed.
	appended chatsvc.Appended
	err      error
}

func newAppend(record []byte, key string) *pendingAppend {
	a := &pendingAppend{record: record, begun: time.Now(), done: make(chan struct{})}
	if key != "" {
		a.id = messageID(key)
	}
	return a
}

// appendedNowhere goes with an error.
var appendedNowhere chatsvc.Appended

func (a *pendingAppend) end(appended chatsvc.Appended, err error) {
	a.appended, a.err = appended, err
	close(a.done)
}

// Append implements [chatsvc.Log]. It waits for at most two seconds for a
// cluster, and thirty for a disk. While nothing can be stored it fails at once. It
// fails too where the stream has another epoch than State returned last. Errors
// have the code unavailable, or resource_exhausted if the disk is full.
func (l *Log) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	if err := ctx.Err(); err != nil {
		return appendedNowhere, err
	}
	a := newAppend(record, key)
	if err := l.begin(a); err != nil {
		return appendedNowhere, refusal(err)
	}
	if offset, ok := l.knownBefore(a.id); ok {
		return chatsvc.Appended{Offset: offset, Duplicate: true}, nil
	}
	if err := l.publisher.publish(a); err != nil {
		return appendedNowhere, refusal(err)
	}
	late := time.NewTimer(l.publisher.wait) // also where a disk hangs
	defer late.Stop()
	var err error
	select {
	case <-a.done:
		err = a.err
	case <-late.C:
		err = errNoAnswer
	case <-ctx.Done():
		return appendedNowhere, ctx.Err()
	}
	if err != nil {
		if isOverload(err) {
			l.logger.Warn("append", "error", err)
		} else if l.Err() == nil {
			l.suspect(err)
		}
		return appendedNowhere, refusal(err)
	}
	if err := l.confirm(ctx, a); err != nil {
		l.logger.Warn("append", "error", err)
		return appendedNowhere, refusal(err)
	}
	return a.appended, nil
}

// begin returns why nothing can be stored now, or notes in a what is known of the
// stream before it is sent.
func (l *Log) begin(a *pendingAppend) error {
	if l.closed.Err() != nil {
		return ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a.epoch, a.turned, a.highest = l.epoch, l.turned, l.highest
	return l.obstacle()
}

// knownBefore returns the offset of the append that had the message id and that
// JetStream may know no longer, as it has started since: in this process before
// that started, elsewhere at any time.
func (l *Log) knownBefore(id string) (offset uint64, known bool) {
	switch {
	case id == "":
		return 0, false
	case l.engine != nil:
		return l.engine.disk.known(id)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.notes.find(id)
}

// isOverload reports whether JetStream has taken too much on, and nothing is
// wrong otherwise.
func isOverload(err error) bool {
	apiError := new(jetstream.APIError)
	return errors.As(err, &apiError) && apiError.Code == http.StatusTooManyRequests
}

// refusal returns what the sender sees, with the cause beside it.
func refusal(cause error) error {
	if errors.Is(cause, syscall.ENOSPC) || errors.Is(cause, syscall.EDQUOT) {
		return errors.Join(connect.NewError(connect.CodeResourceExhausted, errFull), cause)
	}
	return errors.Join(connect.NewError(connect.CodeUnavailable, errSendAgain), cause)
}
