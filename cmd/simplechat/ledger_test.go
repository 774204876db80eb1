package main

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

// said is a chat message as a value: two are equal if every field is.
type said struct {
	from, content string
	kind          chatpb.ChatMessage_ContentType
	timestamp     uint64
}

func saidOf(m *chatpb.ChatMessage) said {
	return said{m.GetFrom(), string(m.GetContent()), m.GetType(), m.GetTimestamp()}
}

// newSaid returns a user's n-th message, with a content of size bytes or a little
// more that no other has.
func newSaid(user string, n, size int) said {
	content := fmt.Sprintf("%s #%d ", user, n)
	content += strings.Repeat("x", max(0, size-len(content)))
	return said{user, content, chatpb.ChatMessage_Text, uint64(1_790_000_000_000 + n)}
}

// message returns the message as it is sent.
func (s said) message() *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(s.content), Type: s.kind, Timestamp: s.timestamp}
}

// record returns a short text that no other message has, for the recorder.
func (s said) record() string {
	return fmt.Sprintf("%s: %.40q, %v, %d, %08x", s.from, s.content, s.kind, s.timestamp, crc32.ChecksumIEEE([]byte(s.content)))
}

// String shows who said what, cut to a length that fits on a line.
func (s said) String() string { return fmt.Sprintf("%.40q of %s", s.content, s.from) }

// place is where a log keeps a message.
type place struct {
	epoch  string
	offset uint64
}

// placed is a message and its place, as a sender was told or a watcher saw it.
type placed struct {
	place
	said
}

// ledger is what clients know of a conversation. It is safe for concurrent use while the
// conversation runs.
type ledger struct {
	// position, if it is not nil, returns the moment: a number that does not
	// fall. See until.
	position func() int

	// recorder has every call: the order in which calls begin and end.
	recorder *linear.Recorder

	mu      sync.Mutex            // guards all below
	sent    map[said]bool         // all that a sender tried to send
	acked   []observed            // acknowledged messages, those of each sender in its order
	watched map[string][]observed // messages that each watcher saw, in its order
	blamed  []string              // what clients found wrong at once
	known   []instant             // when clients learned something, in order
}

// observed is an observation of a client at a moment.
type observed struct {
	placed

	moment int
}

// instant is a moment, and the recorder's last event then.
type instant struct {
	moment int
	event  int64
}

func newLedger() *ledger {
	return &ledger{recorder: linear.NewRecorder(), sent: map[said]bool{}, watched: map[string][]observed{}}
}

// send notes a message before its sender sends it for the first time.
func (l *ledger) send(m said) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[m] = true
}

// acknowledge notes that a sender was told that m is stored at p.
func (l *ledger) acknowledge(m said, p place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, observed{placed{p, m}, l.moment()})
}

// see records a message that a watcher received.
func (l *ledger) see(watcher string, messages ...placed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.watched[watcher]
	for _, m := range messages {
		seen = append(seen, observed{m, l.moment()})
	}
	l.watched[watcher] = seen
}

func (l *ledger) moment() int {
	if l.position == nil {
		return 0
	}
	now := l.position()
	l.known = append(l.known, instant{now, l.recorder.Now()})
	return now
}

// until returns the ledger as it was at a moment, but for what had been sent: all
// that is sent ever.
func (l *ledger) until(moment int) *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	later := func(o observed) bool { return o.moment > moment }
	past := newLedger()
	event := int64(0)
	for _, at := range l.known {
		if at.moment <= moment {
			event = max(event, at.event)
		}
	}
	past.recorder = l.recorder.Until(event)
	past.sent = maps.Clone(l.sent)
	past.acked = slices.DeleteFunc(slices.Clone(l.acked), later)
	for watcher, seen := range l.watched {
		past.watched[watcher] = slices.DeleteFunc(slices.Clone(seen), later)
	}
	return past
}

// next returns the place of the message that a watcher has to see next.
func (l *ledger) next(watcher string) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := l.watched[watcher]
	if len(seen) == 0 {
		return place{"", 1}
	}
	return place{seen[len(seen)-1].epoch, seen[len(seen)-1].offset + 1}
}

// blamef records a fault that a client finds at once.
func (l *ledger) blamef(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blamed = append(l.blamed, fmt.Sprintf(format, args...))
}

func (l *ledger) isBlamed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.blamed) > 0
}

// behind returns the watchers that have not seen a message at end or after it.
func (l *ledger) behind(end place) (names []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, seen := range l.watched {
		if len(seen) == 0 || seen[len(seen)-1].epoch != end.epoch || seen[len(seen)-1].offset < end.offset {
			names = append(names, name)
		}
	}
	return names
}

// count returns the number of acknowledged messages.
func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

// check compares the ledger with the whole history that a reader gets in the end, and
// returns the problems. Every acknowledged message must be in the history exactly once
// and at the offset that its sender got. The messages of each sender must be in the order
// in which it sent them. No message may be in the history that nobody sent. Each watcher
// must have seen the same history from its first message to its last one. One order of
// all calls must explain all answers.
func (l *ledger) check(history []placed) []string {
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
func (l *ledger) checkCalls() []string {
	if err := l.recorder.Check(); err != nil {
		return []string{"calls: " + err.Error()}
	}
	return nil
}

// checkHistory checks that the history is one log's, without a gap, and holds
// what was sent, each message once.
func (l *ledger) checkHistory(history []placed) (problems []string) {
	at := map[said]uint64{}
	for i, m := range history {
		if i > 0 && (m.epoch != history[i-1].epoch || m.offset != history[i-1].offset+1) {
			problems = append(problems, fmt.Sprintf("history: %v follows %v", m.place, history[i-1].place))
		}
		if !l.sent[m.said] {
			problems = append(problems, fmt.Sprintf("invented: %v at %v, nobody sent it", m.said, m.place))
		}
		if first, twice := at[m.said]; twice {
			problems = append(problems, fmt.Sprintf("twice: %v at %d and %d", m.said, first, m.offset))
		}
		at[m.said] = m.offset
	}
	return problems
}

// checkAcknowledged checks that each acknowledged message is where its sender
// was told, and that a sender's next message is behind it.
func (l *ledger) checkAcknowledged(history []placed) (problems []string) {
	stored := map[place]said{}
	for _, m := range history {
		stored[m.place] = m.said
	}
	told := map[place]said{}
	last := map[string]observed{}
	for _, m := range l.acked {
		if other, ok := told[m.place]; ok && other != m.said {
			problems = append(problems, fmt.Sprintf("one place for two: %v and %v at %v", other, m.said, m.place))
		}
		told[m.place] = m.said
		if before, ok := last[m.from]; ok && before.epoch == m.epoch && before.offset >= m.offset && before.said != m.said {
			problems = append(problems, fmt.Sprintf("order: %s sent %v before %v", m.from, before.placed, m.placed))
		}
		last[m.from] = m
		switch there, ok := stored[m.place]; {
		case !ok:
			problems = append(problems, fmt.Sprintf("lost: %v, acknowledged at %v", m.said, m.place))
		case there != m.said:
			problems = append(problems, fmt.Sprintf("moved: %v, acknowledged at %v, where %v is", m.said, m.place, there))
		}
	}
	return problems
}

// checkWatched checks that each watcher has seen the history from some message
// on to its end, once, in order.
func (l *ledger) checkWatched(history []placed) (problems []string) {
	for watcher, seen := range l.watched {
		start := 0
		if len(seen) > 0 {
			start = slices.Index(history, seen[0].placed)
		}
		if start < 0 {
			problems = append(problems, fmt.Sprintf("watcher %s began with %v at %v, which is not in the history", watcher, seen[0].said, seen[0].place))
			continue
		}
		want := history[start:]
		for i := range max(len(want), len(seen)) {
			switch {
			case i >= len(seen):
				problems = append(problems, fmt.Sprintf("watcher %s saw %d messages, the last %d are missing", watcher, len(seen), len(want)-len(seen)))
			case i >= len(want):
				problems = append(problems, fmt.Sprintf("watcher %s saw %d messages more than the history has", watcher, len(seen)-len(want)))
			case seen[i].placed != want[i]:
				problems = append(problems, fmt.Sprintf("watcher %s saw %v at %v, where the history has %v at %v", watcher, seen[i].said, seen[i].place, want[i].said, want[i].place))
			default:
				continue
			}
			break
		}
	}
	return problems
}
