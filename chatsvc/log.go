package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// KeyWindow is how long a log knows the key of an append. Clients that repeat a send
// rely on it.
const KeyWindow = 2 * time.Minute

// ErrEpoch is wrapped by the errors of [Log.Read], [Log.Follow] and [Log.Append]
// if the log is in another epoch than the caller expects. [Log.State] returns the new one.
var ErrEpoch = errors.New("the log has another epoch")

// Entry is one stored record.
type Entry struct {
	// Offset is the number of the record in its log. Offsets start at 1 and increase by
	// one.
	Offset uint64
	// Time is when the log stored the record.
	Time time.Time
	// Record is a serialized qtgrpc.examples.chat.ChatMessages with exactly one message.
	// It must not be changed. Other bytes are delivered as an empty message.
	Record []byte
}

// Chunk is a part of a log: every offset in [From, Next).
type Chunk struct {
	// From is the first offset of the chunk: the requested one, or a higher one if
	// records were removed.
	From uint64
	// Next is the offset after the chunk.
	Next uint64
	// Entries are the records of the chunk in the order of their offsets. An
	// offset without an entry is a record that cannot be read; subscribers get
	// an empty message for it.
	Entries []Entry
	// First is the first offset that the log retained when it made the chunk. The chunk
	// may contain lower offsets that the log still stores.
	First uint64
	// Redacted are the offsets of records below From that were replaced by an
	// empty message since the previous chunk. Only Follow reports them.
	Redacted []uint64
}

// State describes a log at one moment.
type State struct {
	// Epoch identifies the numbering of the log's records, in 1 to 128 visible ASCII
	// characters. Offsets of different epochs are not related. The epoch changes
	// exactly when offsets change their meaning: acknowledged records were lost,
	// or the log went back, was recreated or was restored from a copy.
	Epoch string
	// First is the offset of the oldest retained record, or Next if no record is
	// retained.
	First uint64
	// Next is the offset that the next new record will get.
	Next uint64
}

// Appended is the result of [Log.Append].
type Appended struct {
	// Epoch is the epoch of Offset. It may be newer than the one that State returned
	// last.
	Epoch string
	// Offset is the offset of the record. For a duplicate, it is that of the first append.
	Offset uint64
	// Duplicate means that the key was known, so nothing was stored.
	Duplicate bool
}

// Log stores records in one order. Only the log decides which records are retained. It
// also expires records by age while they are not read, and stores somewhat more than it
// reports ([Retention.Stored]), so that a reader that starts at the first offset is not
// overtaken at once. Implementations must be safe for concurrent use, and must never change
// a record that they receive or return.
type Log interface {
	// State returns the log's epoch and the range of the retained offsets. A log with
	// replicas asks the one that decides.
	State(ctx context.Context) (State, error)

	// Append stores a record and returns when it is as durable as the log
	// promises. If key is not empty and was used within [KeyWindow],
	// nothing is stored. An error with the connect code resource_exhausted or
	// invalid_argument means that the record was not stored. After any other
	// error it may have been stored or not, and the caller may append it again with
	// the same key. The sender receives an error with a connect code unchanged; any other
	// error becomes unavailable.
	Append(ctx context.Context, record []byte, key string) (Appended, error)

	// Read returns the records in [from, to), as many as exist and fit in maxBytes, but
	// at least one if one exists. If the record at from does not exist yet, From equals
	// Next in the chunk. It fails with [ErrEpoch] in another epoch.
	// A log without a way to read can use [ReadByFollow].
	Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (Chunk, error)

	// Follow calls yield with chunks from offset from on, and then with new records as
	// they are stored. The record at from must be stored, or be the next one. The From of
	// each chunk is the Next of the previous chunk, unless the records between them were
	// removed. Yield is called by one goroutine at a time. Appends must not wait for
	// yield. Follow returns yield's error if that is not nil, ctx.Err() when ctx is done,
	// an error that wraps [ErrEpoch] in another epoch, and its own error if it
	// cannot continue. The caller may then call it again with the next offset.
	Follow(ctx context.Context, epoch string, from uint64, yield func(Chunk) error) error
}

// SizedLog is a [Log] that knows the sizes of its records without reading them.
// A [Service] uses it to find the begin of a replay that is bounded by bytes.
// With other logs it reads the records of the replay once.
type SizedLog interface {
	Log

	// LastBytes returns the lowest retained offset for which the sizes of the records
	// from it to the end add up to at most bytes. It fails with [ErrEpoch] in another
	// epoch.
	LastBytes(ctx context.Context, epoch string, bytes int64) (uint64, error)
}

// ReadByFollow implements [Log.Read] with the other methods: it follows the log until
// it has the requested records. Each call starts and ends a Follow, so it suits logs
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

// validate returns an error if no log may return the state.
func (s State) validate() error {
	if s.Epoch == "" || len(s.Epoch) > maxHeaderValue || !visibleASCII(s.Epoch) {
		return fmt.Errorf("epoch %q: it must have 1 to %d visible ASCII characters", s.Epoch, maxHeaderValue)
	}
	if s.First > s.Next {
		return fmt.Errorf("first offset %d is above the next one, %d", s.First, s.Next)
	}
	return nil
}
