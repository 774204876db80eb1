// Package ledger notes what the clients of a conversation learn from the outside: what they
// send, what the server acknowledges and what they receive. In the end it compares that with
// the whole history, and names each message that is lost, moved, repeated or invented.
package ledger

import (
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"sync"

	"example.com/simplechat/chatsvc/linear"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Message is a chat message as a value: two are equal if every field is.
type Message struct {
	From, Content string
	Kind          chatpb.ChatMessage_ContentType
	Timestamp     uint64
}

// MessageOf returns what m holds.
func MessageOf(m *chatpb.ChatMessage) Message {
	return Message{m.GetFrom(), string(m.GetContent()), m.GetType(), m.GetTimestamp()}
}

// NewMessage returns a user's n-th message, with a content of size bytes or a little
// more that no other has.
func NewMessage(user string, n, size int) Message {
	content := fmt.Sprintf("%s #%d ", user, n)
	content += strings.Repeat("x", max(0, size-len(content)))
	return Message{user, content, chatpb.ChatMessage_Text, uint64(1_790_000_000_000 + n)}
}

// Proto returns the message as it is sent.
func (s Message) Proto() *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(s.Content), Type: s.Kind, Timestamp: s.Timestamp}
}

// Record returns a short text that no other message has, for the recorder.
func (s Message) Record() string {
	return fmt.Sprintf("%s: %.40q, %v, %d, %08x", s.From, s.Content, s.Kind, s.Timestamp, crc32.ChecksumIEEE([]byte(s.Content)))
}

// String shows who said what, cut to a length that fits on a line.
func (s Message) String() string { return fmt.Sprintf("%.40q of %s", s.Content, s.From) }

// Place is where a log keeps a message.
type Place struct {
	Epoch  string
	Offset uint64
}

// Placed is a message and its place, as a sender was told or a watcher saw it.
type Placed struct {
	Place
	Message
}

// Ledger is what the outside knows of a conversation. It is safe for concurrent
// use while the conversation goes on.
type Ledger struct {
	// Position, if it is not nil, returns the moment: a number that does not
	// fall. See until.
	Position func() int

	// Recorder has every call: the order in which calls begin and end.
	Recorder *linear.Recorder

	mu      sync.Mutex            // guards all below
	sent    map[Message]bool      // all that a sender tried to send
	acked   []observed            // what a sender was told is stored, each sender's in its order
	watched map[string][]observed // what each watcher saw, in its order
	blamed  []string              // what clients found wrong at once
	known   []instant             // when clients learned something, in order
}

// observed is what a client learned at a moment.
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

// Acknowledge notes that a sender was told that m is stored at p.
func (l *Ledger) Acknowledge(m Message, p Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, observed{Placed{p, m}, l.moment()})
}

// See notes what a watcher received.
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
	now := l.Position()
	l.known = append(l.known, instant{now, l.Recorder.Now()})
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

// Next returns the place of what a watcher has to see next.
func (l *Ledger) Next(watcher string) Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.watched[watcher]
	if len(seen) == 0 {
		return Place{"", 1}
	}
	return Place{seen[len(seen)-1].Epoch, seen[len(seen)-1].Offset + 1}
}

// Blamef notes what a client finds wrong at once.
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

// Behind returns the watchers who have not seen what is at end or behind it.
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

// Check compares the ledger with the whole history that a reader gets in the
// end, and returns what is wrong with it: every acknowledged message must be
// there exactly once and where its sender was told, in one order for all, each
// sender's own messages in the order in which it sent them; nothing may be there
// that nobody sent; and each watcher must have seen the same from its first
// message to the last one. One order of all calls must explain what each was told.
func (l *Ledger) Check(history []Placed) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Concat(
		l.blamed,
		l.checkHistory(history),
		l.checkAcknowledged(history),
		l.checkWatched(history),
		l.checkCalls(),
	)
}

// checkCalls checks the order in which calls began and ended.
func (l *Ledger) checkCalls() []string {
	if err := l.Recorder.Check(); err != nil {
		return []string{"calls: " + err.Error()}
	}
	return nil
}

// checkHistory checks that the history is one log's, without a gap, and holds
// what was sent, each message once.
func (l *Ledger) checkHistory(history []Placed) (problems []string) {
	at := map[Message]uint64{}
	for i, m := range history {
		if i > 0 && (m.Epoch != history[i-1].Epoch || m.Offset != history[i-1].Offset+1) {
			problems = append(problems, fmt.Sprintf("history: %v follows %v", m.Place, history[i-1].Place))
		}
		if !l.sent[m.Message] {
			problems = append(problems, fmt.Sprintf("invented: %v at %v, nobody sent it", m.Message, m.Place))
		}
		if first, twice := at[m.Message]; twice {
			problems = append(problems, fmt.Sprintf("twice: %v at %d and %d", m.Message, first, m.Offset))
		}
		at[m.Message] = m.Offset
	}
	return problems
}

// checkAcknowledged checks that each acknowledged message is where its sender
// was told, and that a sender's next message is behind it.
func (l *Ledger) checkAcknowledged(history []Placed) (problems []string) {
	stored := map[Place]Message{}
	for _, m := range history {
		stored[m.Place] = m.Message
	}
	told := map[Place]Message{}
	last := map[string]observed{}
	for _, m := range l.acked {
		if other, ok := told[m.Place]; ok && other != m.Message {
			problems = append(problems, fmt.Sprintf("one place for two: %v and %v at %v", other, m.Message, m.Place))
		}
		told[m.Place] = m.Message
		if before, ok := last[m.From]; ok && before.Epoch == m.Epoch && before.Offset >= m.Offset && before.Message != m.Message {
			problems = append(problems, fmt.Sprintf("order: %s sent %v before %v", m.From, before.Placed, m.Placed))
		}
		last[m.From] = m
		switch there, ok := stored[m.Place]; {
		case !ok:
			problems = append(problems, fmt.Sprintf("lost: %v, acknowledged at %v", m.Message, m.Place))
		case there != m.Message:
			problems = append(problems, fmt.Sprintf("moved: %v, acknowledged at %v, where %v is", m.Message, m.Place, there))
		}
	}
	return problems
}

// checkWatched checks that each watcher has seen the history from some message
// on to its end, once, in order.
func (l *Ledger) checkWatched(history []Placed) (problems []string) {
	for watcher, seen := range l.watched {
		start := 0
		if len(seen) > 0 {
			start = slices.Index(history, seen[0].Placed)
		}
		if start < 0 {
			problems = append(problems, fmt.Sprintf("watcher %s began with %v at %v, which is not in the history", watcher, seen[0].Message, seen[0].Place))
			continue
		}
		want := history[start:]
		for i := range max(len(want), len(seen)) {
			switch {
			case i >= len(seen):
				problems = append(problems, fmt.Sprintf("watcher %s saw %d messages, the last %d are missing", watcher, len(seen), len(want)-len(seen)))
			case i >= len(want):
				problems = append(problems, fmt.Sprintf("watcher %s saw %d messages more than the history has", watcher, len(seen)-len(want)))
			case seen[i].Placed != want[i]:
				problems = append(problems, fmt.Sprintf("watcher %s saw %v at %v, where the history has %v at %v", watcher, seen[i].Message, seen[i].Place, want[i].Message, want[i].Place))
			default:
				continue
			}
			break
		}
	}
	return problems
}
