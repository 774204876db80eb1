package sendtail

import (
	"context"
	"errors"
	"time"

	"example.com/simplechat/chatsvc/chatclient"
)

const (
	// eventsAhead is how many messages are received while others are printed.
	eventsAhead = 256
	// stateTime is how often the position is stored at most while messages come.
	stateTime = 200 * time.Millisecond
)

// target handles messages. One goroutine uses it.
type target interface {
	// handle handles a message, or puts it aside until flush.
	handle(e chatclient.Event) error
	// flush returns when all messages have been handled. It fails if one may have been
	// lost.
	flush() error
	// isDone reports whether each message has been handled for good by handle, so
	// that the position must be stored at once.
	isDone() bool
}

// tail hands messages from the server to a target, and stores the position behind those
// that were handled.
type tail struct {
	client   *chatclient.Client
	noFollow bool
	target   target
	state    *state
	notices  *notices
	patience *patience

	epoch    string              // of the last event, or of the state
	handled  chatclient.Position // behind the last event that was handled
	isOpened bool                // there was an event
}

// run hands on messages until ctx is done or, without follow, there are no more. A
// message that was received but not handled is not counted in the state.
func (t *tail) run(ctx context.Context, from chatclient.Position) error {
	t.epoch, _, _ = from.Offset()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, result := make(chan chatclient.Event, eventsAhead), make(chan error, 1)
	go func() {
		defer close(events)
		result <- t.receive(ctx, from, func(e chatclient.Event) error {
			t.patience.heard()
			select {
			case events <- e:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	err := t.consume(ctx, events)
	if saveErr := t.save(); saveErr != nil && (err == nil || errors.Is(err, ctx.Err())) {
		err = saveErr
	}
	if err != nil {
		return err
	}
	return <-result
}

// receive calls yield for all messages that are asked for.
func (t *tail) receive(ctx context.Context, from chatclient.Position, yield func(chatclient.Event) error) error {
	if !t.noFollow {
		return t.client.Follow(ctx, from, yield)
	}
	for {
		err := t.client.Read(ctx, from, chatclient.End(), func(e chatclient.Event) error {
			from = e.Next()
			return yield(e)
		})
		if !errors.Is(err, chatclient.ErrNewEpoch) {
			return err
		}
	}
}

// consume handles events until there are no more, and stores the position a while after
// it has changed.
func (t *tail) consume(ctx context.Context, events <-chan chatclient.Event) error {
	var due <-chan time.Time
	for {
		if ctx.Err() != nil { // select takes either where both are ready
			return ctx.Err()
		}
		if len(events) == 0 {
			if err := t.target.flush(); err != nil {
				return err
			}
		}
		select {
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if err := t.handle(ctx, e); err != nil {
				return err
			}
			if due == nil {
				due = time.After(stateTime)
			}
		case <-due:
			due = nil
			if err := t.save(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// handle handles an event.
func (t *tail) handle(ctx context.Context, e chatclient.Event) error {
	if t.target.isDone() && e.Message != nil {
		stop := context.AfterFunc(ctx, func() {
			t.notices.tellf("ending after the command for message %d; a second interrupt ends at once", e.Offset)
		})
		defer stop()
	}
	if e.Message == nil {
		t.opened(e)
	} else if err := t.target.handle(e); err != nil {
		return err
	}
	t.handled, t.isOpened = e.Next(), true
	if e.Message != nil && t.target.isDone() {
		return t.save()
	}
	return nil
}

// opened tells what is gone.
func (t *tail) opened(e chatclient.Event) {
	defer func() { t.epoch = e.Epoch }()
	t.notices.success()
	switch {
	case e.NewEpoch && e.Epoch == t.epoch:
		t.notices.tellf("the log went back, as after it was restored from a copy: all that it holds follows, from message %d on", e.Offset)
	case e.NewEpoch:
		t.notices.tellf("the log has a new epoch, %s: all that it holds follows, from message %d on", e.Epoch, e.Offset)
	}
	if e.Lost > 0 {
		t.notices.tellf("%d messages before message %d are gone: the server retains them no longer", e.Lost, e.Offset)
	}
}

// save stores the position behind all that was handled.
func (t *tail) save() error {
	if err := t.target.flush(); err != nil || !t.isOpened {
		return err
	}
	return t.state.save(t.handled)
}
