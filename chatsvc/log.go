package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// KeyWindow is how long a log knows the key of an append. Clients that send again
// rely on it.
const KeyWindow = 2 * time.Minute

// ErrEpoch is wrapped by the errors of [Log.Read], [Log.Follow] and [Log.Append]
// if the log is in another epoch than the caller's. [Log.State] has the new one.
var ErrEpoch = errors.New("the log has another epoch")

// Entry is one stored record.
type Entry struct {
	// Offset is the record's number in its log. Offsets start at 1 and grow
	// by one.
	Offset uint64
	// Time is when the log stored the record.
	Time time.Time
	// Record is a serialized qtgrpc.examples.chat.ChatMessages that holds
	// exactly one message. It is immutable. Bytes that are something else are
	// delivered as an empty message.
	Record []byte
}

// Chunk is a part of a log: every offset in [From, Next).
type Chunk struct {
	// From is the first offset of the chunk. It is the one that was asked for,
	// or higher if records were removed since.
	From uint64
	// Next is the offset behind the chunk.
	Next uint64
	// Entries are the records of the chunk in the order of their offsets. An
	// offset that has no entry is a record that cannot be read; subscribers get
	// an empty message for it.
	Entries []Entry
	// First is the first offset that the log retained when it made the chunk.
	// Offsets below it may be in a chunk as long as the log still stores them.
	First uint64
	// Redacted are the offsets of records below From that were replaced by an
	// empty message since the chunk before. Only Follow reports them.
	Redacted []uint64
}

// State describes a log at one moment.
type State struct {
	// Epoch names the log's incarnation, in 1 to 128 visible ASCII characters.
	// Offsets of different epochs have nothing to do with each other. It changes
	// exactly when offsets change their meaning: acknowledged records were lost,
	// or the log went back, was recreated or was restored from a copy.
	Epoch string
	// First is the offset of the oldest retained record, or Next if there is
	// none.
	First uint64
	// Next is the offset that the next new record will get.
	Next uint64
}

// Appended says where [Log.Append] put a record.
type Appended struct {
	// Epoch is the epoch that Offset belongs to. It may be a newer one than State
	// returned last.
	Epoch string
	// Offset is the record's offset: that of the first append for a duplicate.
	Offset uint64
	// Duplicate tells that the key was known, and that nothing was stored.
	Duplicate bool
}

// Log stores records in one order for all. Only the log decides what is
// retained: it also expires records by age while nobody reads, and stores
// somewhat more than it reports ([Retention.Stored]), so that a reader that
// starts at the first offset is not overtaken at once. Implementations are safe
// for concurrent use, and never change a record that they were given or hand out.
type Log interface {
	// State returns the log's epoch and what it retains. Where a log has
	// replicas, it asks the one that decides.
	State(ctx context.Context) (State, error)

	// Append stores a record and returns when it is as durable as the log
	// promises. Where key is not empty and was used within [KeyWindow],
	// nothing is stored. An error with the connect code resource_exhausted or
	// invalid_argument says that the record was not stored. After any other
	// error it may have been stored or not, and the caller may append again with
	// the same key. Errors that carry a connect code keep it on their way to the
	// sender; any other becomes unavailable.
	Append(ctx context.Context, record []byte, key string) (Appended, error)

	// Read returns the records from offset from to below to, or as many of them
	// as there are and fit in maxBytes, but at least one if there is one. A chunk
	// with From equal to Next says that there is no record at from yet. It fails
	// with [ErrEpoch] in another epoch.
	// A log that has no way of its own can use [ReadByFollow].
	Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (Chunk, error)

	// Follow calls yield with chunks from offset from on, which must be stored
	// already or be the next one, and then with new records as they come. Chunks
	// follow each other without a gap: the From of each is the Next of the one
	// before unless the records between them were removed. Yield is called from
	// one goroutine at a time, and a log that never blocks in it. Follow
	// returns yield's error if that is not nil, ctx.Err() when ctx is done, an
	// error that wraps [ErrEpoch] in another epoch, and its own error when it
	// cannot continue; the caller may then follow again from where it was.
	Follow(ctx context.Context, epoch string, from uint64, yield func(Chunk) error) error
}

// SizedLog is a [Log] that knows the sizes of its records without reading them.
// A [Service] uses it to find where a replay that is bounded by bytes begins;
// for other logs it reads the records of the replay once.
type SizedLog interface {
	Log

	// LastBytes returns the lowest retained offset from which on the sizes of all
	// records add up to at most bytes. It fails with [ErrEpoch] in another epoch.
	LastBytes(ctx context.Context, epoch string, bytes int64) (uint64, error)
}

// ReadByFollow is a [Log.Read] made of the other methods: it follows the log until
// it has what was asked for. Each call starts and ends a Follow, so it suits logs
// for which that is cheap.
func ReadByFollow(ctx context.Context, log interface {
	State(ctx context.Context) (State, error)
	Follow(ctx context.Context, epoch string, from uint64, yield func(Chunk) error) error
}, epoch string, from, to uint64, maxBytes int,
) (Chunk, error) {
	state, err := log.State(ctx)
	switch {
	case err != nil:
		return Chunk{}, err
	case state.Epoch != epoch:
		return Chunk{}, fmt.Errorf("%w: it is %s, not %s", ErrEpoch, state.Epoch, epoch)
	}
	to = min(to, state.Next)
	got := Chunk{From: from, Next: from, First: state.First}
	if from >= to {
		return got, nil
	}
	enough := errors.New("enough")
	bytes := 0
	err = log.Follow(ctx, epoch, from, func(c Chunk) error {
		if len(got.Entries) == 0 && got.From == got.Next {
			got.From, got.Next = max(from, c.From), max(from, c.From)
		}
		got.First = max(got.First, c.First)
		for _, e := range c.Entries {
			bytes += len(e.Record)
			if e.Offset >= to || len(got.Entries) > 0 && bytes > maxBytes {
				got.Next = min(e.Offset, to)
				return enough
			}
			got.Entries = append(got.Entries, e)
			got.Next = e.Offset + 1
		}
		got.Next = max(got.Next, min(c.Next, to))
		if got.Next >= to || bytes >= maxBytes {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		return Chunk{}, err
	}
	return got, nil
}

// Retention bounds a history. Where a bound is passed, the oldest records go
// first. Zero means no such bound.
type Retention struct {
	// Messages is the largest number of records.
	Messages int
	// Bytes is the largest sum of the records' sizes.
	Bytes int64
	// Age is how long a record is kept after the log stored it.
	Age time.Duration
}

const (
	// slackShare is the part of a bound that a log stores beyond it.
	slackShare = 16
	// The least that a log stores beyond a bound: a burst must not overtake a
	// subscriber that keeps up, however small the bound.
	slackMessages = 256
	slackBytes    = 1 << 20
)

// Stored returns the bounds of what a log stores to retain r: 1/16 more of each,
// and at least 256 messages and 1 MiB more. A log reports only what r allows.
func (r Retention) Stored() Retention {
	if r.Messages > 0 {
		r.Messages += max(r.Messages/slackShare, slackMessages)
	}
	if r.Bytes > 0 {
		r.Bytes += max(r.Bytes/slackShare, slackBytes)
	}
	r.Age += r.Age / slackShare
	return r
}

// Exceeded reports whether the oldest of count records with a sum of bytes and
// the given age must be removed.
func (r Retention) Exceeded(count uint64, bytes int64, age time.Duration) bool {
	return r.Messages > 0 && count > uint64(r.Messages) ||
		r.Bytes > 0 && bytes > r.Bytes ||
		r.Age > 0 && age >= r.Age
}

func (r Retention) validate() error {
	if r.Messages < 0 || r.Bytes < 0 || r.Age < 0 {
		return fmt.Errorf("%d messages, %d bytes, %v: no bound may be negative, zero for none", r.Messages, r.Bytes, r.Age)
	}
	return nil
}

// validate returns an error that names what no log may return.
func (s State) validate() error {
	if s.Epoch == "" || len(s.Epoch) > maxHeaderValue || !visibleASCII(s.Epoch) {
		return fmt.Errorf("epoch %q: it must have 1 to %d visible ASCII characters", s.Epoch, maxHeaderValue)
	}
	if s.First > s.Next {
		return fmt.Errorf("first offset %d is above the next one, %d", s.First, s.Next)
	}
	return nil
}
