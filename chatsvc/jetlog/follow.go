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
	// chunkBytes bounds a chunk, apart from its last record.
	chunkBytes = 256 << 10
	// followBackoff and followBackoffMax are the pauses between two tries to
	// continue.
	followBackoff    = 50 * time.Millisecond
	followBackoffMax = time.Second
	// stallTicks is for how many checks in a row, watchPause apart, a consumer may
	// deliver nothing while the stream has records for it. Each consumer that is
	// replaced for that gives its successor twice as many, as a large record on a slow
	// network looks the same.
	stallTicks = 4
	// largestGap is the largest number of offsets without records in an epoch.
	largestGap = 65_536
)

// errLost ends a consumer that JetStream has handed out records of which one
// did not arrive.
var errLost = errors.New("a record was lost on its way")

// errStalled ends a consumer that shows that it is alive and delivers nothing, though
// there are records for it (seen in a cluster of servers under load).
var errStalled = errors.New("the consumer delivers nothing of what is in the stream")

// Follow implements [chatsvc.Log]. While NATS is away it waits. Records that arrived
// together are one chunk. It fails with [chatsvc.ErrEpoch] if the stream is no longer
// the one whose epoch State returned last.
func (l *Log) Follow(ctx context.Context, epoch string, from uint64, yield func(chatsvc.Chunk) error) error {
	if err := l.checkCall(ctx, epoch); err != nil {
		return err
	}
	l.mu.Lock()
	f := &follower{log: l, epoch: epoch, replaced: l.replaced, next: max(from, 1), yield: yield}
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

// follower is one Follow.
type follower struct {
	log      *Log
	epoch    string
	replaced <-chan struct{} // closed when the stream gets another epoch
	next     uint64          // offset to hand out next
	yield    func(chatsvc.Chunk) error
	refused  error // yield's error
	stalls   int   // consumers in a row that were replaced because they delivered nothing

	// Of the consumer that reads for it.
	alive    context.Context //nolint:containedctx // done when the consumer has ended
	end      context.CancelCauseFunc
	consumed uint64 // its own count
	taken    uint64 // offset that it delivers next, at least
	check    place  // a record that was seen and must come first; zero: none
	queue    *queue
}

// consume hands out records by a consumer until something is in the way, and
// returns what.
func (f *follower) consume(ctx context.Context) error {
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
	<-consuming.Closed() // take is not called any more: the next consumer has other state
	return context.Cause(f.alive)
}

// handOut yields what the consumer delivers, until it has ended.
func (f *follower) handOut(ctx context.Context) {
	tick := time.NewTicker(watchPause)
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
		case <-f.replaced:
			f.end(errReplaced)
		case <-f.log.closed.Done():
			f.end(ErrClosed)
		}
	}
}

// start prepares for another consumer and returns the offset that it begins at: that
// of the last record that was seen, if it is known, so that a stream that went back is
// recognized.
func (f *follower) start() uint64 {
	l := f.log
	f.consumed, f.taken, f.check, f.queue = 0, f.next, place{}, newQueue()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == f.epoch && l.seen.offset > 0 && l.seen.offset == f.next-1 {
		f.check = l.seen
		return l.seen.offset
	}
	return f.next
}

// passLostEnd hands out the last offsets of the stream as records that cannot be
// read, if the leader does not have them either: no consumer delivers them. It reports
// whether the leader has a record that the consumer has not delivered.
func (f *follower) passLostEnd(ctx context.Context) (isBehind bool, err error) {
	f.log.mu.Lock()
	isBehind = f.log.epoch == f.epoch && f.next <= f.log.highest
	f.log.mu.Unlock()
	if !isBehind {
		return false, nil
	}
	info, err := f.log.checkEpoch(ctx, f.epoch, f.next)
	if err != nil {
		return true, err
	}
	_, found, err := f.log.nextAtLeader(ctx, f.next)
	if err != nil || found {
		return found, err
	}
	end := info.State.LastSeq + 1
	f.next = min(max(f.next, info.State.FirstSeq), end)
	if end-f.next > largestGap {
		return false, f.log.wentBack(ctx, f.epoch, fmt.Errorf("offsets %d to %d are missing", f.next, end-1))
	}
	f.log.logger.Error("records of the stream are missing and cannot be read", "from", f.next, "to", end-1)
	return false, f.handChunk(chatsvc.Chunk{From: f.next, Next: end})
}

// failed takes what the consumer reports. Some of it is no more than news.
func (f *follower) failed(err error) {
	if !errors.Is(err, nats.ErrTimeout) {
		f.end(err)
	}
}

// take queues a record, unless something is wrong with it.
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
	case f.check.offset > 0 && offset == f.check.offset:
		if !at.Timestamp.Equal(f.check.time) {
			f.end(f.log.wentBack(f.alive, f.epoch, fmt.Errorf("offset %d is of %v, and was of %v", offset, at.Timestamp, f.check.time)))
		}
	case offset < f.taken:
		f.end(fmt.Errorf("offset %d came where %d was due", offset, f.taken))
	default:
		f.taken = offset + 1
		f.queue.add(f.alive, queued{chatsvc.Entry{Offset: offset, Time: at.Timestamp, Record: msg.Data()}, msg.Headers().Get(jetstream.MsgIDHeader)})
	}
}

// hand yields records, in chunks.
func (f *follower) hand(ctx context.Context, records []queued) error {
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
func (f *follower) handChunk(c chatsvc.Chunk) error {
	if c.From == c.Next {
		return nil
	}
	c.First = f.log.firstBefore(c.Next)
	f.next = c.Next
	f.refused = f.yield(c)
	return f.refused
}

// passGap hands out the offsets before offset, which the consumer did not deliver:
// records that the retention has removed are passed over, and those that the leader
// does not have either cannot be read.
func (f *follower) passGap(ctx context.Context, offset uint64) error {
	if f.next >= offset {
		return nil
	}
	info, err := f.log.checkEpoch(ctx, f.epoch, offset)
	if err != nil {
		return err
	}
	f.next = min(max(f.next, info.State.FirstSeq), offset)
	for f.next < offset {
		e, found, err := f.log.nextAtLeader(ctx, f.next)
		if err != nil {
			return err
		}
		if !found || e.Offset > offset {
			e = chatsvc.Entry{Offset: offset}
		}
		if e.Offset-f.next > largestGap {
			return f.log.wentBack(ctx, f.epoch, fmt.Errorf("offsets %d to %d are missing", f.next, e.Offset-1))
		}
		chunk := chatsvc.Chunk{From: f.next, Next: e.Offset}
		if e.Offset < offset {
			chunk.Next, chunk.Entries = e.Offset+1, []chatsvc.Entry{e}
		} else {
			f.log.logger.Error("records of the stream are missing and cannot be read", "from", f.next, "to", offset-1)
		}
		if err := f.handChunk(chunk); err != nil {
			return err
		}
	}
	return nil
}

// note notes a record that is about to be handed out.
func (l *Log) note(epoch string, r queued) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoch == epoch {
		l.seen = place{r.Offset, r.Time}
		l.highest = max(l.highest, r.Offset)
		l.keys.note(r.id, keyUse{r.Offset, r.Time})
	}
}

// firstBefore returns the offset of the oldest record that is retained if next is
// the next one, as far as it is known.
func (l *Log) firstBefore(next uint64) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(min(l.first, next), l.firstByCount(next), 1)
}
