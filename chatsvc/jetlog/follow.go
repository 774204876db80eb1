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
	// followHeartbeat is how often JetStream shows that a consumer is alive. The
	// consumer ends if two of these signs are missing.
	followHeartbeat = time.Second
	// followBytes is how many bytes of the stream may be on their way to a Follow.
	followBytes = 16 << 20
	// chunkBytes bounds the size of a chunk without its last record.
	chunkBytes = 256 << 10
	// followBackoff and followBackoffMax are the pauses between two tries to
	// continue.
	followBackoff    = 50 * time.Millisecond
	followBackoffMax = time.Second
	// stallTicks is how many checks in a row, monitorPause apart, may find that a
	// consumer has delivered nothing although the stream has records for it. Each
	// consumer that is replaced for this reason gives the next one twice as many checks,
	// because a large record on a slow network looks the same.
	stallTicks = 4
	// largestGap is the largest number of offsets without records in an epoch.
	largestGap = 65_536
)

// errRecordLost ends a consumer if a record that JetStream has delivered did not arrive.
var errRecordLost = errors.New("a record was lost on its way")

// errStalled ends a consumer that shows signs of life but delivers nothing, although the
// stream has records for it. It was seen in a cluster of servers under load.
var errStalled = errors.New("the consumer delivers nothing of what is in the stream")

// Follow implements [chatsvc.Log]. While NATS cannot be reached it waits. Records that
// arrive together are one chunk. It fails with [chatsvc.ErrEpoch] if the stream has another
// epoch than State returned last.
func (l *Log) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	if err := l.checkCall(ctx, epoch); err != nil {
		return err
	}
	l.mu.Lock()
	f := &streamFollower{log: l, epoch: epoch, epochOver: l.epochOver, next: max(from, 1), yield: yield}
	l.mu.Unlock()
	for backoff := followBackoff; ; {
		from := f.next
		err := f.consume(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case l.closed.Err() != nil:
			return ErrClosed
		case f.refused != nil:
			return f.refused
		case errors.Is(err, chatsvc.ErrEpoch):
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

// streamFollower is one call of Follow.
type streamFollower struct {
	log       *Log
	epoch     string
	epochOver <-chan struct{} // closed when the stream gets another epoch
	next      uint64          // offset to hand out next
	yield     func(chatsvc.Chunk) error
	refused   error // yield's error
	stalls    int   // consumers in a row that were replaced because they delivered nothing

	// The state of its current consumer.
	alive    context.Context //nolint:containedctx // done when the consumer has ended
	end      context.CancelCauseFunc
	consumed uint64 // number of messages that the consumer has delivered
	taken    uint64 // lowest offset that the consumer may deliver next
	check    stamp  // a record that was seen and must come first; zero: none
	queue    *queue
}

// consume yields records from a new consumer until it fails, and returns why it
// failed.
func (f *streamFollower) consume(ctx context.Context) error {
	f.alive, f.end = context.WithCancelCause(ctx)
	defer f.end(nil)
	ask, cancel := context.WithTimeout(ctx, 2*requestTime)
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
		_, err = f.log.checkEpoch(ctx, f.epoch, f.next-1)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return f.log.recreate(ctx, f.epoch)
	}
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(f.take,
		jetstream.PullMaxBytes(followBytes),
		jetstream.PullHeartbeat(followHeartbeat),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) { f.failed(err) }))
	if err != nil {
		return err
	}
	f.handOut(ctx)
	consuming.Stop()
	<-consuming.Closed() // from now on take is not called: the next consumer starts with new state
	return context.Cause(f.alive)
}

// handOut yields the records that the consumer delivers until the consumer ends.
func (f *streamFollower) handOut(ctx context.Context) {
	tick := time.NewTicker(monitorPause)
	defer tick.Stop()
	var stalled int // checks in a row
	before := f.next
	for {
		select {
		case <-f.queue.filled:
			if f.alive.Err() == nil {
				if err := f.hand(ctx, f.queue.takeAll()); err != nil {
					f.end(err)
				}
			}
		case <-tick.C:
			isBehind, err := f.passLostEnd(ctx)
			if stalled++; !isBehind || f.next != before {
				stalled, f.stalls, before = 0, 0, f.next
			}
			if err == nil && stalled >= stallTicks<<min(f.stalls, 5) {
				f.stalls++
				err = errStalled
			}
			if err != nil && f.alive.Err() == nil {
				f.end(err)
			}
		case <-f.alive.Done():
			return
		case <-f.epochOver:
			f.end(errNewEpoch)
		case <-f.log.closed.Done():
			f.end(ErrClosed)
		}
	}
}

// start prepares for another consumer and returns the offset at which it begins. That is
// the offset of the last record that was seen, if it is known: then the consumer shows
// whether the stream went back.
func (f *streamFollower) start() uint64 {
	l := f.log
	f.consumed, f.taken, f.check, f.queue = 0, f.next, stamp{}, newQueue()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == f.epoch && l.seen.offset > 0 && l.seen.offset == f.next-1 {
		f.check = l.seen
		return l.seen.offset
	}
	return f.next
}

// failed handles an error that the consumer reports. Time-outs are harmless.
func (f *streamFollower) failed(err error) {
	if !errors.Is(err, nats.ErrTimeout) {
		f.end(err)
	}
}

// take queues a record that the consumer delivers, or ends the consumer if the record is
// out of order.
func (f *streamFollower) take(msg jetstream.Msg) {
	if f.alive.Err() != nil {
		return // later records are not in order
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
		f.end(fmt.Errorf("%w: the consumer's message %d came where %d was due", errRecordLost, at.Sequence.Consumer, f.consumed))
	case f.check.offset > 0 && offset == f.check.offset:
		if !at.Timestamp.Equal(f.check.time) {
			f.end(f.log.beginEpochAfterLoss(f.alive, f.epoch, fmt.Errorf("offset %d is of %v, and was of %v", offset, at.Timestamp, f.check.time)))
		}
	case offset < f.taken:
		f.end(fmt.Errorf("offset %d came where %d was due", offset, f.taken))
	default:
		f.taken = offset + 1
		f.queue.add(f.alive, queued{chatsvc.Entry{Offset: offset, Time: at.Timestamp, Record: msg.Data()}, msg.Headers().Get(jetstream.MsgIDHeader)})
	}
}

// hand yields records in chunks.
func (f *streamFollower) hand(ctx context.Context, records []queued) error {
	chunk, bytes := chatsvc.Chunk{From: f.next, Next: f.next}, 0
	for _, r := range records {
		if r.Offset > chunk.Next || bytes >= chunkBytes {
			if err := f.handChunk(chunk); err != nil {
				return err
			}
			if err := f.passGap(ctx, r.Offset); err != nil {
				return err
			}
			chunk, bytes = chatsvc.Chunk{From: f.next, Next: f.next}, 0
		}
		f.log.note(f.epoch, r)
		chunk.Entries = append(chunk.Entries, r.Entry)
		chunk.Next = r.Offset + 1
		bytes += len(r.Record)
	}
	return f.handChunk(chunk)
}

// handChunk yields a chunk unless it is empty.
func (f *streamFollower) handChunk(c chatsvc.Chunk) error {
	if c.From == c.Next {
		return nil
	}
	c.First = f.log.firstBefore(c.Next)
	f.next = c.Next
	f.refused = f.yield(c)
	return f.refused
}
