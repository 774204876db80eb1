// Package ledger notes what the clients of a conversation learn from the outside: what they
// send, what the server acknowledges and what they receive. In the end it compares that with
// the whole history, and names each message that is lost, moved, repeated or invented.
package ledger

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"example.com/simplechat/chatsvc/linear"
)

// Ledger is what clients know of a conversation. It is safe for concurrent use while the
// conversation runs.
type Ledger struct {
	// Position, if it is not nil, returns the moment: a number that does not
	// fall. See until.
	Position func() int

	// Recorder has every call: the order in which calls begin and end.
	Recorder *linear.Recorder

	mu      sync.Mutex            // guards all below
	sent    map[Message]bool      // all that a sender tried to send
	acked   []observed            // acknowledged messages, those of each sender in its order
	watched map[string][]observed // messages that each watcher saw, in its order
	blamed  []string              // what clients found wrong at once
	known   []instant             // when clients began to send or learned something, in order
}

// observed is an observation of a client at a moment.
type observed struct {
	Placed

	moment int
}

// instant is a moment, and the recorder's last event then.
type instant struct {
	moment int
	event  int64
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{Recorder: linear.NewRecorder(), sent: map[Message]bool{}, watched: map[string][]observed{}}
}

// Send notes a message before its sender sends it for the first time.
func (l *Ledger) Send(m Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[m] = true
}

// Begin notes that the recorder has an append that its sender is about to send: the disk
// may have the message from this moment on.
func (l *Ledger) Begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moment()
}

// Acknowledge notes that a sender was told that m is stored at p.
func (l *Ledger) Acknowledge(m Message, p Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, observed{Placed{p, m}, l.moment()})
}

// See records a message that a watcher received.
func (l *Ledger) See(watcher string, messages ...Placed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.watched[watcher]
	for _, m := range messages {
		seen = append(seen, observed{m, l.moment()})
	}
	l.watched[watcher] = seen
}

func (l *Ledger) moment() int {
	if l.Position == nil {
		return 0
	}
	event := l.Recorder.Now() // first: what is recorded later may be of a later moment
	now := l.Position()
	l.known = append(l.known, instant{now, event})
	return now
}

// Until returns the ledger as it was at a moment, but for what had been sent: all
// that is sent ever.
func (l *Ledger) Until(moment int) *Ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	later := func(o observed) bool { return o.moment > moment }
	past := New()
	event := int64(0)
	for _, at := range l.known {
		if at.moment <= moment {
			event = max(event, at.event)
		}
	}
	past.Recorder = l.Recorder.Until(event)
	past.sent = maps.Clone(l.sent)
	past.acked = slices.DeleteFunc(slices.Clone(l.acked), later)
	for watcher, seen := range l.watched {
		past.watched[watcher] = slices.DeleteFunc(slices.Clone(seen), later)
	}
	return past
}

// Next returns the place of the message that a watcher has to see next.
func (l *Ledger) Next(watcher string) Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.watched[watcher]
	if len(seen) == 0 {
		return Place{"", 1}
	}
	return Place{seen[len(seen)-1].Epoch, seen[len(seen)-1].Offset + 1}
}

// Blamef records a fault that a client finds at once.
func (l *Ledger) Blamef(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blamed = append(l.blamed, fmt.Sprintf(format, args...))
}

// IsBlamed reports whether a client has found something wrong.
func (l *Ledger) IsBlamed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blamed) > 0
}

// Behind returns the watchers that have not seen a message at end or after it.
func (l *Ledger) Behind(end Place) (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, seen := range l.watched {
		if len(seen) == 0 || seen[len(seen)-1].Epoch != end.Epoch || seen[len(seen)-1].Offset < end.Offset {
			names = append(names, name)
		}
	}
	return names
}

// Last returns the place of the message that was acknowledged last. There must be one.
func (l *Ledger) Last() Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked[len(l.acked)-1].Place
}

// Watchers returns the names of all watchers.
func (l *Ledger) Watchers() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.watched))
}

// Count returns the number of acknowledged messages.
func (l *Ledger) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}
