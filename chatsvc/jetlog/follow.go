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
	epoch := l.epoch
	l.mu.Unlock()
	backoff := followBackoff
	for {
		f := &follower{log: l, epoch: epoch, next: max(from, 1), yield: yield}
		err := f.run(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.closed.Err() != nil:
			return ErrClosed
		case f.refused != nil:
			return f.refused
		case errors.Is(err, errReplaced):
			return err
		}
		l.logger.Warn("follow the stream", "from", f.next, "error", err)
		if f.next > from {
			backoff = followBackoff
		}
		from = f.next
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

// follower is one consumer's life.
type follower struct {
	log   *Log
	epoch string
	next  uint64 // offset to hand out next
	last  uint64 // offset of the stream's last record when the life began, 0 if it is not known
	yield func(chatsvc.Entry) error

	alive context.Context // done when the consumer's life has ended
	end   context.CancelCauseFunc

	consumed uint64 // the consumer's own count
	check    place  // a record that was seen and must come first; zero: none
	refused  error  // yield's error
}

// run hands out records until something is in the way, and returns what.
func (f *follower) run(ctx context.Context) error {
	f.alive, f.end = context.WithCancelCause(ctx)
	defer f.end(nil)
	start, turned := f.start()
	ask, cancel := context.WithTimeout(ctx, requestTime+backTime)
	defer cancel()
	consumer, err := f.log.js.CreateConsumer(ask, f.log.stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   start,
		AckPolicy:     jetstream.AckNonePolicy,
		MaxDeliver:    1,
		Replicas:      1,
		MemoryStorage: true,
	})
	if err == nil {
		err = f.log.checkIncarnation(ask, f.epoch, f.next-1)
	}
	if err == nil {
		err = f.findEnd(ask)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return f.log.recreate(ask)
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
	case <-turned:
		f.end(errReplaced)
	case <-f.log.closed.Done():
		f.end(ErrClosed)
	}
	consuming.Stop()
	<-consuming.Closed() // yield is not called any more
	return context.Cause(f.alive)
}

// start returns the offset to begin at: that of the last record that was seen,
// if it is known, so that a stream that went back is recognized. The channel is
// closed when the stream gets another epoch.
func (f *follower) start() (uint64, <-chan struct{}) {
	l := f.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == f.epoch && l.seen.offset > 0 && l.seen.offset == f.next-1 {
		f.check = l.seen
		return l.seen.offset, l.turned
	}
	return f.next, l.turned
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
	case f.log.awaitStored(f.alive, offset):
		f.hand(chatsvc.Entry{Offset: offset, Time: at.Timestamp, Record: msg.Data()})
		f.handEnd(at.NumPending)
	}
}

// findEnd notes the last offset of a stream in this process. The record may be
// missing: where the server finds the end of its files damaged, it knows the
// number from its index.
func (f *follower) findEnd(ctx context.Context) error {
	if f.log.engine == nil {
		return nil
	}
	info, err := f.log.info(ctx)
	if err == nil {
		f.last = info.State.LastSeq
	}
	return err
}

// handEnd hands out, when nothing else is left to come, what the stream has lost
// at its end, as a record that is damaged: its offset will not come.
func (f *follower) handEnd(pending uint64) {
	if pending == 0 && f.next <= f.last && f.alive.Err() == nil {
		f.hand(chatsvc.Entry{Offset: f.last})
	}
}

func (f *follower) hand(e chatsvc.Entry) {
	if f.refused = f.yield(e); f.refused != nil {
		f.end(f.refused)
		return
	}
	f.next = e.Offset + 1
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	if f.log.epoch == f.epoch {
		f.log.seen = place{e.Offset, e.Time}
	}
}

// awaitStored waits until the record at offset is acknowledged: JetStream shows
// those of a batch before they are on the disk. It returns false if ctx is done
// before.
func (l *Log) awaitStored(ctx context.Context, offset uint64) bool {
	if l.engine == nil {
		return true
	}
	for {
		stored, grown := l.publisher.storedSoFar()
		if offset <= stored {
			return true
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return false
		}
	}
}
