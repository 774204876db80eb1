package jetlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

const (
	// followHeartbeat is how often JetStream shows that a consumer is alive;
	// two that are missing end it.
	followHeartbeat = time.Second
	// followBytes is how much of the stream is on its way to a Follow.
	followBytes = 16 << 20
	// followBackoff and followBackoffMax are the pauses between two tries to
	// read on.
	followBackoff    = 50 * time.Millisecond
	followBackoffMax = time.Second
)

var (
	// errReplaced ends a Follow whose stream is not the one that it was: State
	// has the new epoch.
	errReplaced = errors.New("the stream was replaced by another one")
	// errLost ends a consumer that JetStream has handed out records of which one
	// did not arrive.
	errLost = errors.New("a record got lost on its way")
)

// Follow implements [chatsvc.Log]. While NATS is away it waits. It fails if the
// stream is no longer the one whose epoch State returned last: it was created
// anew, or went back, and what follows has nothing to do with what was before.
func (l *Log) Follow(ctx context.Context, from uint64, yield func(chatsvc.Entry) error) error {
	l.mu.Lock()
	f := &follower{log: l, epoch: l.epoch, turned: l.turned, next: max(from, 1), yield: yield}
	l.mu.Unlock()
	for backoff := followBackoff; ; {
		from := f.next
		err := f.run(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.closed.Err() != nil:
			return ErrClosed
		case f.refused != nil:
			return f.refused
		case errors.Is(err, errReplaced):
			l.turn(f.turned)
			return err
		}
		l.logger.Warn("follow the stream", "from", f.next, "error", err)
		if f.next > from {
			backoff = followBackoff
		}
		if err := l.pause(ctx, backoff); err != nil {
			return err
		}
		backoff = min(2*backoff, followBackoffMax)
	}
}

// pause waits, unless ctx is done or the log is closed.
func (l *Log) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed.Done():
		return ErrClosed
	}
}

// follower is one Follow.
type follower struct {
	log     *Log
	epoch   string
	turned  <-chan struct{} // closed when the stream gets another epoch
	next    uint64          // offset to hand out next
	yield   func(chatsvc.Entry) error
	refused error // yield's error

	// Of the consumer that reads for it.
	alive    context.Context //nolint:containedctx // done when the consumer's life has ended
	end      context.CancelCauseFunc
	consumed uint64 // its own count
	until    uint64 // offset at which it has done its work; 0: none
	check    place  // a record that was seen and must come first; zero: none
}

// run hands out records until something is in the way, and returns what.
func (f *follower) run(ctx context.Context) error {
	if f.log.engine == nil {
		return f.consume(ctx)
	}
	for {
		if err := f.readRecent(ctx); !errors.Is(err, errFarBack) {
			return err
		}
		f.until = f.log.recent.last()
		if err := f.consume(ctx); !errors.Is(err, errCaughtUp) {
			return err
		}
	}
}

var (
	// errFarBack ends a read of recent records: the next one is older.
	errFarBack = errors.New("the record is not a recent one")
	// errCaughtUp ends a consumer that has handed out what it was to.
	errCaughtUp = errors.New("caught up")
)

// readRecent hands out what this process has stored, as long as it is there.
func (f *follower) readRecent(ctx context.Context) error {
	var batch [256]chatsvc.Entry
	for {
		n, grown, here := f.log.recent.read(f.next, batch[:])
		if !here {
			return errFarBack
		}
		for _, e := range batch[:n] {
			if f.refused = f.yield(e); f.refused != nil {
				return f.refused
			}
			f.next = e.Offset + 1
		}
		if n > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.turned:
			return errReplaced
		case <-f.log.closed.Done():
			return ErrClosed
		}
	}
}

// consume hands out records by a consumer.
func (f *follower) consume(ctx context.Context) error {
	f.alive, f.end = context.WithCancelCause(ctx)
	defer f.end(nil)
	ask, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	consumer, err := f.log.js.CreateConsumer(ask, f.log.stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   f.start(),
		AckPolicy:     jetstream.AckNonePolicy,
		MaxDeliver:    1,
		Replicas:      1,
		MemoryStorage: true,
	})
	if err == nil {
		err = f.log.checkIncarnation(ctx, f.epoch, f.next-1)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return f.log.recreate(ctx, f.epoch)
	}
	if err != nil {
		return err
	}
	f.handEnd(consumer.CachedInfo().NumPending)
	consuming, err := consumer.Consume(f.take,
		jetstream.PullMaxBytes(followBytes),
		jetstream.PullHeartbeat(followHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { f.failed(err) }))
	if err != nil {
		return err
	}
	select {
	case <-f.alive.Done():
	case <-f.turned:
		f.end(errReplaced)
	case <-f.log.closed.Done():
		f.end(ErrClosed)
	}
	consuming.Stop()
	<-consuming.Closed() // yield is not called any more
	return context.Cause(f.alive)
}

// start returns the offset that a consumer begins at: that of the last record
// that was seen, if it is known, so that a stream that went back is recognized.
func (f *follower) start() uint64 {
	l := f.log
	f.consumed, f.check = 0, place{}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == f.epoch && l.seen.offset > 0 && l.seen.offset == f.next-1 {
		f.check = l.seen
		return l.seen.offset
	}
	return f.next
}

// failed takes what the consumer reports. Some of it is no more than news.
func (f *follower) failed(err error) {
	if !errors.Is(err, nats.ErrTimeout) {
		f.end(err)
	}
}

// take hands out a record, unless something is wrong with it.
func (f *follower) take(msg jetstream.Msg) {
	if f.alive.Err() != nil {
		return // what still comes is not in order
	}
	at, err := msg.Metadata()
	if err != nil {
		f.end(err)
		return
	}
	f.consumed++
	offset := at.Sequence.Stream
	switch {
	case at.Sequence.Consumer != f.consumed:
		f.end(fmt.Errorf("%w: the consumer's message %d came where %d was due", errLost, at.Sequence.Consumer, f.consumed))
	case offset < f.next && offset == f.check.offset:
		if !at.Timestamp.Equal(f.check.time) {
			f.end(f.log.wentBack(f.alive, f.epoch, fmt.Errorf("offset %d is of %v, and was of %v", offset, at.Timestamp, f.check.time)))
		}
	case offset < f.next:
		f.end(fmt.Errorf("offset %d came where %d was due", offset, f.next))
	default:
		f.hand(chatsvc.Entry{Offset: offset, Time: at.Timestamp, Record: msg.Data()}, msg.Headers().Get(jetstream.MsgIDHeader))
		f.handEnd(at.NumPending)
	}
}

// handEnd hands out, when nothing else is left to come, what the stream of this
// process has lost at its end, as a record that is damaged: its offset will not
// come. Where the NATS server finds the end of its files damaged, it knows the
// number from its index.
func (f *follower) handEnd(pending uint64) {
	if pending == 0 && f.next <= f.until && f.alive.Err() == nil {
		f.hand(chatsvc.Entry{Offset: f.until}, "")
	}
}

// hand hands out a record that was stored with a message id, or without one.
func (f *follower) hand(e chatsvc.Entry, id string) {
	if f.until > 0 && e.Offset > f.until { // it may not be acknowledged
		f.end(errCaughtUp)
		return
	}
	if f.refused = f.yield(e); f.refused != nil {
		f.end(f.refused)
		return
	}
	f.next = e.Offset + 1
	if f.log.engine != nil { // no other process stores: nothing is there to be checked
		if f.next > f.until {
			f.end(errCaughtUp)
		}
		return
	}
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if f.log.epoch == f.epoch {
		f.log.seen = place{e.Offset, e.Time}
		f.log.highest = max(f.log.highest, e.Offset)
		f.log.notes.note(id, keyUse{e.Offset, e.Time})
	}
}
