package linear

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// KeyWindow is the shortest time for which a log remembers the key of an append.
const KeyWindow = 2 * time.Minute

// unknown is the time of an answer that nobody has received.
const unknown = 1<<63 - 1

// Recorder collects a history of one log, which is empty at first. Its methods
// and those of the operations that it returns are safe for concurrent use.
type Recorder struct {
	mu      sync.Mutex // guards all below
	now     int64      // number of the last event
	last    time.Time  // of that event
	appends []*Append
	seen    map[place][]sighting // the first sighting of each record at each place
	ends    []end
}

// place is where a log keeps a record.
type place struct {
	epoch  string
	offset uint64
}

// sighting is the first time at which a record was read at a place.
type sighting struct {
	record string
	at     int64
}

// end is an end of the log that a reader was told.
type end struct {
	place

	call, answer int64
}

// NewRecorder returns a recorder without operations.
func NewRecorder() *Recorder { return &Recorder{seen: map[place][]sighting{}} }

// tick returns the number of the next event.
func (r *Recorder) tick() int64 {
	r.now++
	r.last = time.Now()
	return r.now
}

// Now returns the number of the last event, for [Recorder.Until].
func (r *Recorder) Now() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// Append is a send. Its outcome is unknown until Return or Refuse is called. At most one
// of them may be called, and only once.
type Append struct {
	r           *Recorder
	record, key string

	call    int64
	called  time.Time
	answer  int64 // unknown until the answer arrives
	settled time.Time
	refused bool
	repeat  bool // the answer was marked as a duplicate
	place   place
}

// Append begins an append. Appends with the same record must have the same key, which
// also names the user, because a record that was read is identified only by its content.
// An empty key means no key.
func (r *Recorder) Append(record, key string) *Append {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := &Append{r: r, record: record, key: key, call: r.tick(), called: r.last, answer: unknown}
	r.appends = append(r.appends, a)
	return a
}

// Return records that the append was acknowledged at an offset. Duplicate is
// whether the server said that the key was known.
func (a *Append) Return(epoch string, offset uint64, duplicate bool) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	a.answer = a.r.tick()
	a.settled = a.r.last
	a.repeat = duplicate
	a.place = place{epoch, offset}
}

// Refuse records that the append got an error which means that the record was not stored,
// for example because it is not valid.
func (a *Append) Refuse() {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	a.refused = true
}

// Read is a call that reads records.
type Read struct {
	r    *Recorder
	call int64
}

// Read begins a read.
func (r *Recorder) Read() *Read {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Read{r, r.tick()}
}

// Return records that records were received, the first of which has the offset
// from. A stream calls it for each batch.
func (rd *Read) Return(epoch string, from uint64, records ...string) {
	r := rd.r
	r.mu.Lock()
	defer r.mu.Unlock()
	at := r.tick()
	for i, record := range records {
		p := place{epoch, from + uint64(i)}
		if !slices.ContainsFunc(r.seen[p], func(s sighting) bool { return s.record == record }) {
			r.seen[p] = append(r.seen[p], sighting{record, at})
		}
	}
}

// End records that next was the offset after the last record of the log at some moment
// since the read began. Do not call it for a server that may lag behind others.
func (rd *Read) End(epoch string, next uint64) {
	r := rd.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = append(r.ends, end{place{epoch, next}, rd.call, r.tick()})
}

// Until returns a recorder with everything that had happened until an event, as if all
// clients had lost their connections at that moment: an append without an answer has an
// unknown outcome. Operations of r that end later do not change it.
func (r *Recorder) Until(event int64) *Recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	past := NewRecorder()
	past.now, past.last = r.now, r.last
	for _, a := range r.appends {
		if a.call > event {
			break
		}
		b := *a
		b.r = past
		if b.answer > event && b.answer != unknown {
			b.answer, b.settled, b.repeat, b.place = unknown, time.Time{}, false, place{}
		}
		past.appends = append(past.appends, &b)
	}
	later := func(s sighting) bool { return s.at > event }
	for p, seen := range maps.All(r.seen) {
		if seen = slices.DeleteFunc(slices.Clone(seen), later); len(seen) > 0 {
			past.seen[p] = seen
		}
	}
	past.ends = slices.DeleteFunc(slices.Clone(r.ends), func(e end) bool { return e.answer > event })
	return past
}
