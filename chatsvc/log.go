package chatsvc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"
)

// KeyWindow is how long a log knows the key of an append. Clients that send again
// rely on it.
const KeyWindow = 2 * time.Minute

// Entry is one stored record.
type Entry struct {
	// Offset is the record's number in its log. Offsets start at 1 and grow
	// by one; a log that has lost a record leaves a gap there, and a [Service]
	// begins its history anew behind it.
	Offset uint64
	// Time is when the log took the record.
	Time time.Time
	// Record is a serialized qtgrpc.examples.chat.ChatMessages that holds
	// exactly one message. It is immutable. One that is something else is not
	// sent on, and the history of a [Service] begins anew behind it.
	Record []byte
}

// State describes a log at one moment.
type State struct {
	// Epoch names the log's incarnation, in 1 to 128 visible ASCII characters.
	// Offsets of different epochs have nothing to do with each other.
	Epoch string
	// First is the offset of the oldest retained record, or Next if there is
	// none.
	First uint64
	// Next is the offset that the next new record will get.
	Next uint64
}

// Appended says where [Log.Append] put a record.
type Appended struct {
	// Offset is the record's offset: that of the first append for a duplicate.
	Offset uint64
	// Duplicate tells that the key was known, and that nothing was stored.
	Duplicate bool
}

// Log stores records in one order for all. Implementations are safe for
// concurrent use, and never change a record that they were given or hand out.
type Log interface {
	// State returns the log's epoch and what it retains.
	State(ctx context.Context) (State, error)

	// Append stores a record and returns when it is as durable as the log
	// promises. Where key is not empty and was used within the log's window,
	// nothing is stored. On an error the record may have been stored or not,
	// and the caller may append again with the same key. Errors that carry a
	// connect code keep it on their way to the sender; any other becomes
	// unavailable.
	Append(ctx context.Context, record []byte, key string) (Appended, error)

	// Follow calls yield for every retained record whose offset is from or
	// higher, then for each new one, in the order of offsets, from one
	// goroutine. It returns yield's error if that is not nil, ctx.Err() when
	// ctx is done, and its own error when it cannot go on; the caller may then
	// follow again from where it was. It fails when the log has another epoch
	// than State returned last: what follows has nothing to do with what was
	// before.
	Follow(ctx context.Context, from uint64, yield func(Entry) error) error
}

// Retention bounds a history. Where a bound is passed, the oldest records go
// first. Zero means no such bound.
type Retention struct {
	// Messages is the largest number of records.
	Messages int
	// Bytes is the largest sum of the records' sizes. What they take in memory
	// is more: about 100 bytes each for the places, a second copy of those
	// under 4 KiB in a [MemoryLog], and the JSON form once someone asked for it.
	Bytes int64
	// Age is how long a record is kept after the log took it.
	Age time.Duration
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

func (r Retention) validate() error {
	if r.Messages < 0 || r.Bytes < 0 || r.Age < 0 {
		return fmt.Errorf("retention of %d messages, %d bytes, %v: no bound may be negative, zero for none", r.Messages, r.Bytes, r.Age)
	}
	return nil
}

// exceeded reports whether the oldest of count records with a sum of bytes,
// taken at oldest, has to go.
func (r Retention) exceeded(count uint64, bytes int64, oldest, now time.Time) bool {
	return r.Messages > 0 && count > uint64(r.Messages) ||
		r.Bytes > 0 && bytes > r.Bytes ||
		r.Age > 0 && now.Sub(oldest) >= r.Age
}

// MemoryLog is a [Log] in memory, gone when the process ends. Each one has an
// epoch of its own. Keys are known for [KeyWindow].
type MemoryLog struct {
	epoch     string
	retention Retention

	mu       sync.Mutex // guards all below
	entries  []Entry    // retained, oldest first
	next     uint64     // offset of the next record
	bytes    int64      // sum of the sizes of entries
	keys     map[keyHash]uint64
	keyOrder []keyUse             // the uses in keys, oldest first
	cursors  map[*uint64]struct{} // the offset that each running Follow reads next
	appended chan struct{}        // closed and replaced by each append
	expiry   *time.Timer          // trims when the oldest record is too old, while someone follows; nil while not armed
}

var _ Log = (*MemoryLog)(nil)

// keyHash stands for a key of any length: 16 bytes of its SHA-256.
type keyHash [16]byte

type keyUse struct {
	key  keyHash
	time time.Time
}

// NewMemoryLog returns an empty log. Negative bounds count as none.
func NewMemoryLog(retention Retention) *MemoryLog {
	return &MemoryLog{
		epoch:     rand.Text(),
		retention: retention,
		next:      1,
		keys:      make(map[keyHash]uint64),
		cursors:   make(map[*uint64]struct{}),
		appended:  make(chan struct{}),
	}
}

// State implements [Log]; it never fails.
func (l *MemoryLog) State(context.Context) (State, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(time.Now())
	return State{Epoch: l.epoch, First: l.first(), Next: l.next}, nil
}

// Append implements [Log]; it fails only if ctx is done.
func (l *MemoryLog) Append(ctx context.Context, record []byte, key string) (Appended, error) {
	if err := ctx.Err(); err != nil {
		return Appended{}, err
	}
	var hash keyHash
	if key != "" {
		sum := sha256.Sum256([]byte(key))
		hash = keyHash(sum[:])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if key != "" {
		l.forgetKeys(now)
		if offset, ok := l.keys[hash]; ok {
			return Appended{Offset: offset, Duplicate: true}, nil
		}
		l.keys[hash] = l.next
		l.keyOrder = append(l.keyOrder, keyUse{hash, now})
	}
	offset := l.next
	l.entries = append(l.entries, Entry{Offset: offset, Time: now, Record: record})
	l.bytes += int64(len(record))
	l.next++
	l.trim(now)
	close(l.appended)
	l.appended = make(chan struct{})
	return Appended{Offset: offset}, nil
}

// Follow implements [Log]. What a running Follow has not read yet is kept,
// whatever the retention: a burst never outruns it.
func (l *MemoryLog) Follow(ctx context.Context, from uint64, yield func(Entry) error) error {
	cursor := new(uint64)
	defer func() {
		l.mu.Lock()
		delete(l.cursors, cursor)
		if len(l.cursors) == 0 && l.expiry != nil {
			l.expiry.Stop() // nobody looks: the next call trims
			l.expiry = nil
		}
		l.mu.Unlock()
	}()
	var batch [256]Entry
	for {
		n, appended := l.read(from, cursor, batch[:])
		for _, entry := range batch[:n] {
			if err := yield(entry); err != nil {
				return err
			}
			from = entry.Offset + 1
		}
		if n > 0 && ctx.Err() == nil {
			continue
		}
		select {
		case <-appended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read copies records from offset from on into batch, and notes in cursor
// where the next read begins. The channel is closed by the next append.
func (l *MemoryLog) read(from uint64, cursor *uint64, batch []Entry) (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	if skip := max(from, l.first()) - l.first(); skip < uint64(len(l.entries)) {
		n = copy(batch, l.entries[skip:])
		from = l.entries[skip].Offset + uint64(n)
	}
	*cursor = from
	l.cursors[cursor] = struct{}{}
	l.trim(time.Now())
	return n, l.appended
}

// first returns the offset of the oldest retained record. The caller holds mu.
func (l *MemoryLog) first() uint64 { return l.next - uint64(len(l.entries)) }

// trim drops what the retention no longer allows and every cursor has passed.
// The caller holds mu.
func (l *MemoryLog) trim(now time.Time) {
	for len(l.entries) > 0 && l.retention.exceeded(uint64(len(l.entries)), l.bytes, l.entries[0].Time, now) {
		for cursor := range l.cursors {
			if *cursor <= l.entries[0].Offset {
				return
			}
		}
		l.bytes -= int64(len(l.entries[0].Record))
		l.entries[0] = Entry{} // the array lives on: let the record go
		l.entries = l.entries[1:]
	}
	if l.retention.Age > 0 && len(l.entries) > 0 && l.expiry == nil && len(l.cursors) > 0 {
		l.expiry = time.AfterFunc(l.entries[0].Time.Add(l.retention.Age).Sub(now), func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.expiry = nil
			l.trim(time.Now())
		})
	}
}

// forgetKeys drops the keys that left the window. The caller holds mu.
func (l *MemoryLog) forgetKeys(now time.Time) {
	for len(l.keyOrder) > 0 && now.Sub(l.keyOrder[0].time) > KeyWindow {
		delete(l.keys, l.keyOrder[0].key)
		l.keyOrder = l.keyOrder[1:]
	}
}
