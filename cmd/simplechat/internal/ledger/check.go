package ledger

import (
	"fmt"
	"slices"
)

// Check compares the ledger with the whole history that a reader gets in the end, and
// returns the problems. Every acknowledged message must be in the history exactly once
// and at the offset that its sender got. The messages of each sender must be in the order
// in which it sent them. No message may be in the history that nobody sent. Each watcher
// must have seen the same history from its first message to its last one. One order of
// all calls must explain all answers.
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
// each message that was sent, once.
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
