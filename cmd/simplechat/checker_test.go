package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// conversation returns a ledger and the history that it belongs to: two senders
// with four messages each, of which one was never acknowledged, and a watcher
// who has seen all of them and one who came late.
func conversation() (*ledger, []placed) {
	l := newLedger()
	var history []placed
	for i := range 8 {
		m := said{fmt.Sprintf("user%d", i%2), fmt.Sprintf("message %d", i), chatpb.ChatMessage_Text, uint64(i)}
		p := place{"epoch", uint64(i + 1)}
		l.send(m)
		if i != 5 {
			l.acknowledge(m, p)
		}
		history = append(history, placed{p, m})
	}
	l.send(said{from: "user1", content: "sent, and lost on the way"})
	l.see("early", history...)
	l.see("late", history[6:]...)
	return l, history
}

// A checker that accepts everything would prove nothing: each way in which a
// history can be wrong must be found, and a right one not be blamed.
func TestCheckerFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	down := func(history []placed) []placed {
		history = slices.Clone(history)
		for i := range history {
			history[i].offset--
		}
		return history
	}
	for _, test := range []struct {
		name    string
		falsify func(l *ledger, history []placed) []placed
		want    string // part of the problem, or empty if there is none
	}{
		{"nothing", func(_ *ledger, h []placed) []placed { return h }, ""},
		{"unacknowledged message is not there", func(l *ledger, h []placed) []placed {
			// The messages after it then have the number before their own.
			for i := range l.acked[5:] {
				l.acked[5+i].offset--
			}
			h = slices.Concat(h[:5], down(h[6:]))
			l.watched = nil
			return h
		}, ""},
		{"repeated send is told the same place", func(l *ledger, h []placed) []placed {
			l.acknowledge(h[7].said, h[7].place)
			return h
		}, ""},
		{"last message is lost", func(_ *ledger, h []placed) []placed { return h[:7] }, "lost: "},
		{"first message is lost", func(_ *ledger, h []placed) []placed { return h[1:] }, "lost: "},
		{"everything is lost", func(*ledger, []placed) []placed { return nil }, "lost: "},
		{"message is missing, with a gap", func(_ *ledger, h []placed) []placed { return slices.Delete(slices.Clone(h), 3, 4) }, "history: "},
		{"message is missing, without a gap", func(_ *ledger, h []placed) []placed {
			return slices.Concat(h[:3], down(h[4:]))
		}, "lost: "},
		{"message is stored twice", func(_ *ledger, h []placed) []placed {
			return append(slices.Clone(h), placed{place{"epoch", 9}, h[2].said})
		}, "twice: "},
		{"unacknowledged message is stored twice", func(_ *ledger, h []placed) []placed {
			return append(slices.Clone(h), placed{place{"epoch", 9}, h[5].said})
		}, "twice: "},
		{"message that nobody sent", func(_ *ledger, h []placed) []placed {
			return append(slices.Clone(h), placed{place{"epoch", 9}, said{from: "user1", content: "invented"}})
		}, "invented: "},
		{"content is altered", func(_ *ledger, h []placed) []placed {
			h[4].content = "massage 4"
			return h
		}, "invented: "},
		{"sender is altered", func(_ *ledger, h []placed) []placed {
			h[4].from = "user1"
			return h
		}, "invented: "},
		{"timestamp is altered", func(_ *ledger, h []placed) []placed {
			h[4].timestamp++
			return h
		}, "invented: "},
		{"type is altered", func(_ *ledger, h []placed) []placed {
			h[4].kind = chatpb.ChatMessage_Image
			return h
		}, "invented: "},
		{"two messages change places", func(_ *ledger, h []placed) []placed {
			h[3].said, h[4].said = h[4].said, h[3].said
			return h
		}, "moved: "},
		{"offsets are others", func(_ *ledger, h []placed) []placed { return down(h) }, "lost: "},
		{"epoch is another", func(_ *ledger, h []placed) []placed {
			for i := range h {
				h[i].epoch = "another"
			}
			return h
		}, "lost: "},
		{"epoch changes within the history", func(_ *ledger, h []placed) []placed {
			h[7].epoch = "another"
			return h
		}, "history: "},
		{"two senders are told one place", func(l *ledger, h []placed) []placed {
			l.acked[0].offset = 2
			return h
		}, "one place for two: "},
		{"repeated send is told another place", func(l *ledger, h []placed) []placed {
			l.acknowledge(h[7].said, place{"epoch", 9})
			return h
		}, "lost: "},
		{"sender's messages are stored in another order", func(l *ledger, h []placed) []placed {
			h[0].said, h[2].said = h[2].said, h[0].said
			l.acked[0].offset, l.acked[2].offset = 3, 1
			l.watched = nil
			return h
		}, "order: "},
		{"watcher misses the last", func(l *ledger, h []placed) []placed {
			l.watched["early"] = l.watched["early"][:7]
			return h
		}, "watcher early saw 7 messages"},
		{"watcher misses one", func(l *ledger, h []placed) []placed {
			l.watched["early"] = slices.Delete(l.watched["early"], 3, 4)
			return h
		}, "watcher early saw"},
		{"watcher sees one twice", func(l *ledger, h []placed) []placed {
			l.watched["early"] = slices.Insert(l.watched["early"], 3, l.watched["early"][3])
			return h
		}, "watcher early saw"},
		{"watcher sees another order", func(l *ledger, h []placed) []placed {
			seen := l.watched["early"]
			seen[3].said, seen[4].said = seen[4].said, seen[3].said
			return h
		}, "watcher early saw"},
		{"watcher sees what is not in the history", func(l *ledger, h []placed) []placed {
			l.see("late", placed{place{"epoch", 9}, said{from: "user1", content: "sent, and lost on the way"}})
			return h
		}, "watcher late saw 1 messages more"},
		{"watcher begins with what is not in the history", func(l *ledger, h []placed) []placed {
			l.watched["late"][0].offset = 0
			return h
		}, "watcher late began with"},
		{"watcher sees nothing", func(l *ledger, h []placed) []placed {
			l.see("blind")
			return h
		}, "watcher blind saw 0 messages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, history := conversation()
			problems := l.check(test.falsify(l, slices.Clone(history)))
			switch found := strings.Join(problems, "\n"); {
			case test.want == "" && len(problems) > 0:
				t.Errorf("blamed for nothing:\n%s", found)
			case test.want != "" && !strings.Contains(found, test.want):
				t.Errorf("no problem with %q was found, but:\n%s", test.want, found)
			}
		})
	}
}
