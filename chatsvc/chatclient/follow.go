package chatclient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Event is a record or, without a message, means that [Client.Follow] opened a stream.
type Event struct {
	// Message is the record's message. It is nil if a stream was opened: the first one, or
	// another one after the last one had ended.
	Message *chatpb.ChatMessage
	// Epoch is the epoch of the log that Offset belongs to.
	Epoch string
	// Offset is the offset of the record. If a stream was opened, it is the offset of the
	// next record.
	Offset uint64
	// Lost is the number of records below Offset that were not delivered and are no longer
	// retained. It is zero with a message.
	Lost uint64
	// NewEpoch means that the log was replaced or went back. Follow then delivers everything
	// that the log retains, from the first record on. Undelivered records of the old log are
	// lost, and their number is not known. NewEpoch is false with a message.
	NewEpoch bool
}

// Next returns the position after e. Following from it yields the records after e.
func (e Event) Next() Position {
	if e.Message == nil {
		return At(e.Epoch, e.Offset)
	}
	return At(e.Epoch, e.Offset+1)
}

// Follow calls yield for every record from a position on, once and in the log's order,
// and each time that it has opened a stream. It runs until ctx is done, and then returns
// ctx.Err(). It returns an error of yield at once, and an error of the server if it is
// final: wrong credentials, or a server that sends no offsets.
//
// Yield is called from the caller's own goroutine. While it runs, nothing is read. If it
// takes too long (30 s by default), the server cuts the stream, and Follow resumes. The
// caller may keep the messages.
func (c *Client) Follow(ctx context.Context, from Position, yield func(Event) error) error {
	return newFollower(c, from, yield).run(ctx)
}

// run opens streams until an error is final.
func (f *follower) run(ctx context.Context) error {
	c := f.client
	pause := c.backoff()
	for {
		server, err := f.stream(ctx, pause)
		var stopped *yieldError
		switch {
		case errors.As(err, &stopped):
			return stopped.err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, errDone):
			return nil
		case isFinal(err):
			return fmt.Errorf("follow from %v: %w", f.position, err)
		}
		c.pause(ctx, pause, Retry{Server: server, Err: err, IsFollow: !f.isBounded})
	}
}

// yieldError is the error of Follow's yield.
type yieldError struct{ err error }

func (e *yieldError) Error() string { return e.err.Error() }

// follower is one call of Follow.
type follower struct {
	client   *Client
	yield    func(Event) error
	position Position          // the next record to deliver
	due      map[string]uint64 // the next offset in each earlier epoch, because a replica may learn of a new epoch later than others

	// The rest is for reads with an end.
	isBounded  bool
	atEnd      bool   // the server determines the end
	until      uint64 // the record before which it ends, unless atEnd
	untilEpoch string // the epoch of until; empty: any epoch
}

func newFollower(c *Client, from Position, yield func(Event) error) *follower {
	return &follower{client: c, position: from, due: make(map[string]uint64), yield: yield}
}

// stream opens a stream and hands on what comes, until it ends. It returns the server's
// URL and always an error.
func (f *follower) stream(ctx context.Context, pause *backoff) (url string, err error) {
	c := f.client
	streamCtx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silenceTimer := newSilenceTimer(c.http, func() { cancel(errSilent) })
	defer silenceTimer.stop()
	server, failures := c.replica()
	err = f.receive(streamCtx, c.newRPC(silenceTimer, server.url), silenceTimer, pause)
	var stopped *yieldError
	if ctx.Err() != nil || errors.As(err, &stopped) || errors.Is(err, errDone) {
		return server.url, err
	}
	if errors.Is(context.Cause(streamCtx), errSilent) {
		err = errSilent
	}
	c.failed(failures)
	c.logger.Warn("stream ended", slog.String("url", server.url), slog.Any("position", f.position), slog.Any("error", err))
	return server.url, err
}

// receive opens a stream and calls yield for its records.
func (f *follower) receive(ctx context.Context, rpc chatconnect.SimpleChatClient, silenceTimer *silenceTimer, pause *backoff) error {
	ctx, call := f.client.newCall(ctx)
	f.position.setHeader(call.RequestHeader())
	f.setUntil(call.RequestHeader())
	silenceTimer.start(f.client.timeout)
	stream, err := rpc.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	epoch, offset, isReset, err := readPosition(stream.ResponseHeader())
	if err != nil {
		stream.Receive() // an error has no position
		if stream.Err() != nil {
			err = stream.Err()
		}
		return err
	}
	silenceTimer.stop()
	if err := f.open(epoch, offset, isReset); err != nil {
		return err
	}
	if err := f.bound(ctx, rpc, stream.ResponseHeader()); err != nil {
		return err
	}
	silence := f.client.silenceOf(stream.ResponseHeader())
	silenceTimer.start(silence)
	for stream.Receive() {
		silenceTimer.stop()
		pause.reset()
		for _, msg := range stream.Msg().GetMessages() {
			if err := f.record(offset, msg); err != nil {
				return err
			}
			offset++
		}
		silenceTimer.start(silence)
	}
	if stream.Err() == nil {
		return errEnded
	}
	return stream.Err()
}

// open moves the position according to the server's response, which has the epoch, the
// offset of the first record that it will send, and whether the log went back.
func (f *follower) open(epoch string, first uint64, isReset bool) error {
	asked, wanted, exact := f.position.Offset()
	e := Event{Epoch: epoch, NewEpoch: isReset || asked != "" && asked != epoch}
	if exact {
		f.due[asked] = wanted
	}
	if isReset {
		f.due[epoch] = 1
	}
	due, known := f.due[epoch]
	switch {
	case known:
	case exact && asked == "":
		due = wanted
	case exact:
		due = 1
	default: // the client asked for no particular record
		due = first
	}
	due = max(due, 1) // offsets begin at 1
	// A replica that lags behind may begin at a lower offset: earlier records are skipped.
	e.Offset = max(first, due)
	e.Lost = e.Offset - due
	if e.NewEpoch || e.Lost > 0 {
		f.client.logger.Warn("records lost", slog.Any("position", f.position), slog.String("epoch", epoch), slog.Uint64("lost", e.Lost))
	}
	f.position = e.Next()
	if err := f.tell(e); err != nil {
		return err
	}
	if f.isBounded && (e.NewEpoch || f.untilEpoch != "" && epoch != f.untilEpoch) {
		return ErrNewEpoch
	}
	return nil
}

// record calls yield for a record, unless that was done before.
func (f *follower) record(offset uint64, msg *chatpb.ChatMessage) error {
	if offset < f.position.n {
		return nil
	}
	e := Event{Message: msg, Epoch: f.position.epoch, Offset: offset}
	f.position = e.Next()
	if err := f.tell(e); err != nil {
		return err
	}
	return f.done()
}

func (f *follower) tell(e Event) error {
	if err := f.yield(e); err != nil {
		return &yieldError{err}
	}
	return nil
}
