package chatsvc

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sort"
	"sync"
	"time"
)

// MemoryLog is a [Log] in memory. Its records are lost when the process ends. Each
// MemoryLog has its own epoch. Keys are known for [KeyWindow], at most [MaxKeys] of them.
type MemoryLog struct {
	epoch     string
	retention Retention
	stored    Retention // bounds of the records in memory
	maxKeys   int

	mu       sync.Mutex     // guards all below
	entries  []storedRecord // the stored entries, oldest first
	first    uint64         // offset of the oldest retained record
	next     uint64         // offset of the next record
	total    int64          // sum of the sizes of all records ever appended
	keys     map[keyHash]uint64
	keyOrder []keyUse             // the keys in use, oldest first
	cursors  map[*uint64]struct{} // the offset that each running Follow reads next
	appended chan struct{}        // closed and replaced by each append
	expiry   *time.Timer          // removes records that are too old; nil while not running
}

var (
	_ SizedLog   = (*MemoryLog)(nil)
	_ BatchLog   = (*MemoryLog)(nil)
	_ OrderedLog = (*MemoryLog)(nil)
)

// storedRecord is an entry with the sum of the sizes of all records before it.
type storedRecord struct {
	Entry

	before int64
}

// NewMemoryLog returns an empty log. Negative bounds count as none.
func NewMemoryLog(retention Retention) *MemoryLog {
	return &MemoryLog{
		epoch:     rand.Text(),
		retention: retention,
		stored:    retention.Stored(),
		maxKeys:   MaxKeys,
		first:     1,
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
	return State{Epoch: l.epoch, First: l.first, Next: l.next}, nil
}

// Append implements [Log]. It fails only if ctx is done, or if there are too many keys.
func (l *MemoryLog) Append(ctx context.Context, record []byte, key string) (Appended, error) {
	outcomes := l.AppendBatch(ctx, []NewRecord{{record, key}})
	return outcomes[0].Appended, outcomes[0].Err
}

// AppendBatch implements [BatchLog]; it fails like Append.
func (l *MemoryLog) AppendBatch(ctx context.Context, records []NewRecord) []Outcome {
	return l.appendAll(ctx, records, false)
}

// AppendOrdered implements [OrderedLog]; it fails like Append.
func (l *MemoryLog) AppendOrdered(ctx context.Context, records []NewRecord) []Outcome {
	return l.appendAll(ctx, records, true)
}

// appendAll stores records, in order as [OrderedLog] says or as [BatchLog] does.
func (l *MemoryLog) appendAll(ctx context.Context, records []NewRecord, inOrder bool) []Outcome {
	outcomes := make([]Outcome, len(records))
	if err := ctx.Err(); err != nil {
		for i := range outcomes {
			outcomes[i].Err = err
		}
		if inOrder {
			return outcomes[:min(1, len(outcomes))]
		}
		return outcomes
	}
	hashes := make([]keyHash, len(records))
	for i, r := range records {
		if r.Key != "" {
			sum := sha256.Sum256([]byte(r.Key))
			hashes[i] = keyHash(sum[:])
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now, before := time.Now(), l.next
	l.forgetKeys(now)
	for i, r := range records {
		outcomes[i] = l.append(r, hashes[i], now)
		if inOrder && outcomes[i].Err != nil {
			outcomes = outcomes[:i+1]
			break
		}
	}
	if l.next > before {
		l.trim(now)
		close(l.appended)
		l.appended = make(chan struct{})
	}
	return outcomes
}

// append stores a record whose key has a hash. The caller holds mu.
func (l *MemoryLog) append(r NewRecord, hash keyHash, now time.Time) Outcome {
	if r.Key != "" {
		if offset, ok := l.keys[hash]; ok {
			return Outcome{Appended: Appended{Epoch: l.epoch, Offset: offset, Duplicate: true}}
		}
		if len(l.keys) >= l.maxKeys {
			return Outcome{Err: TooManyKeys(l.keyOrder[0].time.Add(KeyWindow).Sub(now))}
		}
		l.keys[hash] = l.next
		l.keyOrder = append(l.keyOrder, keyUse{hash, now})
	}
	offset := l.next
	l.entries = append(l.entries, storedRecord{Entry{Offset: offset, Time: now, Record: r.Record}, l.total})
	l.total += int64(len(r.Record))
	l.next++
	return Outcome{Appended: Appended{Epoch: l.epoch, Offset: offset}}
}

// Read implements [Log]; it fails only in another epoch or if ctx is done.
func (l *MemoryLog) Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (Chunk, error) {
	if err := l.check(ctx, epoch); err != nil {
		return Chunk{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(time.Now())
	return l.chunk(from, to, maxBytes), nil
}

// LastBytes implements [SizedLog].
func (l *MemoryLog) LastBytes(ctx context.Context, epoch string, bytes int64) (uint64, error) {
	if err := l.check(ctx, epoch); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.trim(time.Now())
	i := sort.Search(len(l.entries), func(i int) bool { return l.total-l.entries[i].before <= bytes })
	return max(l.first, l.floor()+uint64(i)), nil
}

// followBytes is how many bytes a Follow yields at a time.
const followBytes = 256 << 10

// Follow implements [Log]. The records that a running Follow has not read stay stored
// regardless of the retention, so a burst never overtakes it.
func (l *MemoryLog) Follow(ctx context.Context, epoch string, from uint64, yield func(Chunk) error) error {
	if err := l.check(ctx, epoch); err != nil {
		return err
	}
	cursor := new(uint64)
	defer func() {
		l.mu.Lock()
		delete(l.cursors, cursor)
		l.mu.Unlock()
	}()
	for {
		chunk, appended := l.followed(from, cursor)
		if chunk.Next > chunk.From {
			if err := yield(chunk); err != nil {
				return err
			}
			from = chunk.Next
			if ctx.Err() == nil {
				continue
			}
		}
		select {
		case <-appended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// followed returns the chunk at from, and notes in cursor where the next read
// begins. The channel is closed by the next append.
func (l *MemoryLog) followed(from uint64, cursor *uint64) (Chunk, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	chunk := l.chunk(from, l.next, followBytes)
	*cursor = chunk.Next
	l.cursors[cursor] = struct{}{}
	l.trim(time.Now())
	return chunk, l.appended
}

// check returns an error if ctx is done or the epoch is not the log's.
func (l *MemoryLog) check(ctx context.Context, epoch string) error {
	if epoch != l.epoch {
		return fmt.Errorf("%w: it is %s, not %s", ErrEpoch, l.epoch, epoch)
	}
	return ctx.Err()
}

// chunk returns the records from offset from to below to, as many as fit in
// maxBytes. The caller holds mu.
func (l *MemoryLog) chunk(from, to uint64, maxBytes int) Chunk {
	from, to = max(from, l.floor()), min(to, l.next)
	c := Chunk{From: from, Next: from, First: l.first}
	if from >= to {
		return c
	}
	found := l.entries[from-l.floor() : to-l.floor()]
	limit := found[0].before + int64(maxBytes)
	n := max(1, sort.Search(len(found), func(i int) bool { return found[i].before+int64(len(found[i].Record)) > limit }))
	c.Entries = make([]Entry, n)
	for i := range c.Entries {
		c.Entries[i] = found[i].Entry
	}
	c.Next += uint64(n)
	return c
}

// floor returns the offset of the oldest stored record. The caller holds mu.
func (l *MemoryLog) floor() uint64 { return l.next - uint64(len(l.entries)) }
