package jetlog

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// appendTime bounds the wait for the acknowledgement of an append.
const appendTime = 2 * time.Second

// The errors that a sender sees. Their cause goes to the server's log.
var (
	errNotStored = errors.New("the message was not stored: send it again")
	errUnknown   = errors.New("it is not known whether the message was stored: send it again with its Idempotency-Key")
)

// errNoAnswer ends an append that has waited for too long.
var errNoAnswer = errors.New("no acknowledgement in time")

// refusedError is the cause of an append that was certainly not stored.
type refusedError struct{ cause error }

func (e refusedError) Error() string { return e.cause.Error() }

func (e refusedError) Unwrap() error { return e.cause }

// pendingAppend is one running append.
type pendingAppend struct {
	record []byte
	id     string // JetStream's message id, that of the key; empty: none
	begun  time.Time
	done   chan struct{}
	// inOrder means that other appends follow this one: if it were sent again, it would
	// be stored after them.
	inOrder bool

	// The state of the stream when the append began, as far as the log knew it.
	epoch     string
	epochOver chan struct{} // closed when the stream is seen with another epoch
	highest   uint64        // highest offset that the stream had given

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

func (a *pendingAppend) end(appended chatsvc.Appended, err error) {
	a.appended, a.err = appended, err
	close(a.done)
}

// Append implements [chatsvc.Log]. It waits for at most two seconds. It fails at once
// while nothing can be stored, and if the stream has another epoch than State returned
// last. Errors have the code unavailable, and say whether the record may have been
// stored.
func (l *Log) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	if err := ctx.Err(); err != nil {
		return chatsvc.Appended{}, err
	}
	a := newAppend(record, key)
	if known, err := l.publish(a); err != nil || known.Duplicate {
		return known, err
	}
	return l.acknowledged(ctx, a)
}

// AppendBatch implements [chatsvc.BatchLog]; it fails like Append. It sends all records
// before it waits for the first acknowledgement.
func (l *Log) AppendBatch(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	outcomes := make([]chatsvc.Outcome, len(records))
	appends := make([]*pendingAppend, len(records))
	for i, r := range records {
		if outcomes[i].Err = ctx.Err(); outcomes[i].Err != nil {
			continue
		}
		a := newAppend(r.Record, r.Key)
		a.inOrder = true
		known, err := l.publish(a)
		if err == nil && !known.Duplicate {
			appends[i] = a
		}
		outcomes[i] = chatsvc.Outcome{Appended: known, Err: err}
	}
	for i, a := range appends {
		if a != nil {
			outcomes[i].Appended, outcomes[i].Err = l.acknowledged(ctx, a)
		}
	}
	return outcomes
}

// publish sends a, or returns the earlier append with the same key.
func (l *Log) publish(a *pendingAppend) (chatsvc.Appended, error) {
	known, err := l.begin(a)
	if err != nil {
		return chatsvc.Appended{}, unavailable(refusedError{err})
	}
	if known > 0 {
		return chatsvc.Appended{Epoch: a.epoch, Offset: known, Duplicate: true}, nil
	}
	if err := l.publisher.publish(a); err != nil {
		return chatsvc.Appended{}, unavailable(err)
	}
	return chatsvc.Appended{}, nil
}

// acknowledged waits for the result of an append.
func (l *Log) acknowledged(ctx context.Context, a *pendingAppend) (chatsvc.Appended, error) {
	select {
	case <-a.done: // at the latest after appendTime
	case <-ctx.Done():
		return chatsvc.Appended{}, ctx.Err()
	}
	if a.err == nil {
		a.err = l.confirm(ctx, a)
	}
	if a.err != nil {
		if isOverload(a.err) {
			l.logger.Warn("append", "error", a.err)
		} else if l.Err() == nil {
			l.logger.Warn("append", "error", a.err)
			l.checkSoon()
		}
		return chatsvc.Appended{}, unavailable(a.err)
	}
	a.appended.Epoch = a.epoch // confirm has seen no other
	return a.appended, nil
}

// begin prepares an append: it stores the state of the stream in a. It returns the offset
// of an earlier append with the same key, if there was one, and an error if nothing can be
// stored now.
func (l *Log) begin(a *pendingAppend) (known uint64, err error) {
	if l.closed.Err() != nil {
		return 0, ErrClosed
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.obstacle(); err != nil {
		return 0, err
	}
	a.epoch, a.epochOver, a.highest = l.epoch, l.epochOver, l.highest
	if a.id == "" {
		return 0, nil
	}
	known, _ = l.keys.find(a.id)
	return known, nil
}

// confirm fails if the offset of a stored append does not belong to the epoch in which
// the append began, as far as that can be detected. A stream gives offsets in order: if a
// new record gets an offset that existed before it was sent, the stream is another one or
// went back. If JetStream knows a key that this log has not seen, the stream is checked.
func (l *Log) confirm(ctx context.Context, a *pendingAppend) error {
	offset := a.appended.Offset
	switch {
	case a.appended.Duplicate:
		if err := l.check(ctx); err != nil {
			return err
		}
	case offset <= a.highest:
		err := l.beginEpochAfterLoss(ctx, a.epoch, fmt.Errorf("a new record has offset %d, but offset %d existed before", offset, a.highest))
		if errors.Is(err, errNewEpoch) {
			_ = l.check(ctx) // it ends the Follows; if it fails, monitor tries again soon
		}
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epochOver != a.epochOver || l.isEpochOver() {
		return errNewEpoch
	}
	if !a.appended.Duplicate {
		l.highest = max(l.highest, offset)
		l.keys.note(a.id, keyUse{offset, time.Now()})
	}
	return nil
}

// isOverload reports whether JetStream refused a record only because it is overloaded.
func isOverload(err error) bool {
	apiError := new(jetstream.APIError)
	return errors.As(err, &apiError) && apiError.Code == http.StatusTooManyRequests
}

// unavailable returns the error that the sender sees, joined with its cause.
func unavailable(cause error) error {
	text := errUnknown
	if errors.As(cause, new(refusedError)) {
		text = errNotStored
	}
	return errors.Join(connect.NewError(connect.CodeUnavailable, text), cause)
}
