package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// store is the common part of all servers: a MemoryLog, and the truth about it. It is
// safe for concurrent use.
type store struct {
	retention chatsvc.Retention

	mu       sync.Mutex // guards all below
	log      chatsvc.Log
	next     uint64        // of a database that is closed
	isDisk   bool          // log is a database: its records are known from its readers
	replaced chan struct{} // closed when log is not the log any more
	current  *incarnation
	past     map[string]*incarnation // by epoch, the current one too
	order    []string                // of the epochs
}

// incarnation is the truth about one epoch.
type incarnation struct {
	epoch   string
	records []stored  // that of offset 1 first
	ended   time.Time // zero: it lasts
}

// stored is a record with the log's answers about it.
type stored struct {
	msg    *chatpb.ChatMessage
	record []byte
	key    string
	at     time.Time
}

func newStore(r chatsvc.Retention) *store {
	s := &store{retention: r, past: make(map[string]*incarnation)}
	s.begin(nil)
	return s
}

// begin begins an epoch with records. The caller holds mu, or is alone.
func (s *store) begin(records []stored) {
	s.log = chatsvc.NewMemoryLog(s.retention)
	s.replaced = make(chan struct{})
	for _, r := range records {
		if _, err := s.log.Append(context.Background(), r.record, r.key); err != nil {
			panic(err)
		}
	}
	state, _ := s.log.State(context.Background())
	now := time.Now()
	s.current = &incarnation{epoch: state.Epoch}
	for _, r := range records {
		r.at = now
		s.current.records = append(s.current.records, r)
	}
	s.past[state.Epoch] = s.current
	s.order = append(s.order, state.Epoch)
}

// rollback loses the last records, acknowledged or not, so a new epoch begins.
func (s *store) rollback(lose int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.ended = time.Now()
	close(s.replaced)
	s.begin(s.current.records[:max(0, len(s.current.records)-lose)])
}

// open makes a log that is a database the current one.
func (s *store) open(log chatsvc.Log) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.replaced)
	s.log, s.isDisk, s.replaced = log, true, make(chan struct{})
	state, err := log.State(context.Background())
	if err != nil {
		panic(err)
	}
	s.next = state.Next
	if past := s.past[state.Epoch]; past != nil {
		s.current = past
		return
	}
	s.current.ended = time.Now()
	s.current = &incarnation{epoch: state.Epoch}
	s.past[state.Epoch] = s.current
	s.order = append(s.order, state.Epoch)
}

// note notes a record of a database.
func (s *store) note(epoch string, offset uint64, r stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.past[epoch]
	if past == nil || !s.isDisk || offset == 0 {
		return
	}
	for uint64(len(past.records)) < offset {
		past.records = append(past.records, stored{})
	}
	if past.records[offset-1].msg == nil {
		past.records[offset-1] = r
	}
}

// use returns the log of now, and a channel that is closed when it is no longer that.
func (s *store) use() (chatsvc.Log, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log, s.replaced
}

// append stores a record in memory, and notes the truth.
func (s *store) append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got, err := s.log.Append(ctx, record, key)
	if err != nil || got.Duplicate {
		return got, err
	}
	if want := uint64(len(s.current.records)) + 1; got.Offset != want || got.Epoch != s.current.epoch {
		return got, fmt.Errorf("the log gave offset %d of %s, and %d of %s was due", got.Offset, got.Epoch, want, s.current.epoch)
	}
	s.current.records = append(s.current.records, stored{messageOf(record), record, key, time.Now()})
	return got, nil
}

// messageOf returns the message of a record.
func messageOf(record []byte) *chatpb.ChatMessage {
	messages := &chatpb.ChatMessages{}
	if err := proto.Unmarshal(record, messages); err != nil || len(messages.GetMessages()) != 1 {
		panic(fmt.Sprintf("a record is no message: %v", err))
	}
	return messages.GetMessages()[0]
}

// state returns the epoch and the next offset.
func (s *store) state() (epoch string, next uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDisk {
		return s.current.epoch, s.end()
	}
	return s.current.epoch, uint64(len(s.current.records)) + 1
}

// end returns the next offset of a database, as it is or was when it was open last. The
// caller holds mu.
func (s *store) end() uint64 {
	if state, err := s.log.State(context.Background()); err == nil {
		s.next = state.Next
	}
	return s.next
}

// find returns the record at an offset, or false if there never was one.
func (s *store) find(epoch string, offset uint64) (stored, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.past[epoch]
	if past == nil || offset < 1 || offset > uint64(len(past.records)) {
		return stored{}, false
	}
	r := past.records[offset-1]
	return r, r.msg != nil
}

// retained returns the lowest offset that the retention must have kept until now. It
// knows nothing of the log.
func (s *store) retained(epoch string) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	past := s.past[epoch]
	if past == nil {
		return 1
	}
	now := past.ended
	if now.IsZero() {
		now = time.Now()
	}
	if s.isDisk { // bounded by messages alone
		if m := uint64(s.retention.Messages); m > 0 && s.end() > m {
			return s.end() - m
		}
		return 1
	}
	var count, bytes int64
	for i, r := range slices.Backward(past.records) {
		count++
		bytes += int64(len(r.record))
		if s.retention.Messages > 0 && count > int64(s.retention.Messages) ||
			s.retention.Bytes > 0 && bytes > s.retention.Bytes ||
			s.retention.Age > 0 && now.Sub(r.at) >= s.retention.Age {
			return uint64(i) + 2
		}
	}
	return 1
}
