package ledger

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// conversation returns a ledger and the history that it belongs to: two senders
// with four messages each, of which one was never acknowledged, a watcher
// that has seen all of them, and another one that came late.
func conversation() (*Ledger, []Placed) {
	l := New()
	var history []Placed
	for i := range 8 {
		m := Message{fmt.Sprintf("user%d", i%2), fmt.Sprintf("message %d", i), chatpb.ChatMessage_Text, uint64(i)}
		p := Place{"epoch", uint64(i + 1)}
		l.Send(m)
		if i != 5 {
			l.Acknowledge(m, p)
		}
		history = append(history, Placed{p, m})
	}
	l.Send(Message{From: "user1", Content: "sent, and lost on the way"})
	l.See("early", history...)
	l.See("late", history[6:]...)
	return l, history
}

// A checker that accepts everything would prove nothing: each way in which a
// history can be wrong must be found, and a right one not be blamed.
func TestCheckerFindsWhatIsWrong(t *testing.T) {
	t.Parallel()
	down := func(history []Placed) []Placed {
		history = slices.Clone(history)
		for i := range history {
			history[i].Offset--
		}
		return history
	}
	for _, test := range []struct {
		name    string
		falsify func(l *Ledger, history []Placed) []Placed
		want    string // part of the problem, or empty if there is none
	}{
		{"nothing", func(_ *Ledger, h []Placed) []Placed { return h }, ""},
		{"unacknowledged message is not there", func(l *Ledger, h []Placed) []Placed {
			// The messages after it then have the number before their own.
			for i := range l.acked[5:] {
				l.acked[5+i].Offset--
			}
			h = slices.Concat(h[:5], down(h[6:]))
			l.watched = nil
			return h
		}, ""},
		{"repeated send is told the same place", func(l *Ledger, h []Placed) []Placed {
			l.Acknowledge(h[7].Message, h[7].Place)
			return h
		}, ""},
		{"last message is lost", func(_ *Ledger, h []Placed) []Placed { return h[:7] }, "lost: "},
		{"first message is lost", func(_ *Ledger, h []Placed) []Placed { return h[1:] }, "lost: "},
		{"everything is lost", func(*Ledger, []Placed) []Placed { return nil }, "lost: "},
		{"message is missing, with a gap", func(_ *Ledger, h []Placed) []Placed { return slices.Delete(slices.Clone(h), 3, 4) }, "history: "},
		{"message is missing, without a gap", func(_ *Ledger, h []Placed) []Placed {
			return slices.Concat(h[:3], down(h[4:]))
		}, "lost: "},
		{"message is stored twice", func(_ *Ledger, h []Placed) []Placed {
			return append(slices.Clone(h), Placed{Place{"epoch", 9}, h[2].Message})
		}, "twice: "},
		{"unacknowledged message is stored twice", func(_ *Ledger, h []Placed) []Placed {
			return append(slices.Clone(h), Placed{Place{"epoch", 9}, h[5].Message})
		}, "twice: "},
		{"message that nobody sent", func(_ *Ledger, h []Placed) []Placed {
			return append(slices.Clone(h), Placed{Place{"epoch", 9}, Message{From: "user1", Content: "invented"}})
		}, "invented: "},
		{"content is altered", func(_ *Ledger, h []Placed) []Placed {
			h[4].Content = "massage 4"
			return h
		}, "invented: "},
		{"sender is altered", func(_ *Ledger, h []Placed) []Placed {
			h[4].From = "user1"
			return h
		}, "invented: "},
		{"timestamp is altered", func(_ *Ledger, h []Placed) []Placed {
			h[4].Timestamp++
			return h
		}, "invented: "},
		{"type is altered", func(_ *Ledger, h []Placed) []Placed {
			h[4].Kind = chatpb.ChatMessage_Image
			return h
		}, "invented: "},
		{"two messages change places", func(_ *Ledger, h []Placed) []Placed {
			h[3].Message, h[4].Message = h[4].Message, h[3].Message
			return h
		}, "moved: "},
		{"offsets are others", func(_ *Ledger, h []Placed) []Placed { return down(h) }, "lost: "},
		{"epoch is another", func(_ *Ledger, h []Placed) []Placed {
			for i := range h {
				h[i].Epoch = "another"
			}
			return h
		}, "lost: "},
		{"epoch changes within the history", func(_ *Ledger, h []Placed) []Placed {
			h[7].Epoch = "another"
			return h
		}, "history: "},
		{"two senders are told one place", func(l *Ledger, h []Placed) []Placed {
			l.acked[0].Offset = 2
			return h
		}, "one place for two: "},
		{"repeated send is told another place", func(l *Ledger, h []Placed) []Placed {
			l.Acknowledge(h[7].Message, Place{"epoch", 9})
			return h
		}, "lost: "},
		{"sender's messages are stored in another order", func(l *Ledger, h []Placed) []Placed {
			h[0].Message, h[2].Message = h[2].Message, h[0].Message
			l.acked[0].Offset, l.acked[2].Offset = 3, 1
			l.watched = nil
			return h
		}, "order: "},
		{"watcher misses the last", func(l *Ledger, h []Placed) []Placed {
			l.watched["early"] = l.watched["early"][:7]
			return h
		}, "watcher early saw 7 messages"},
		{"watcher misses one", func(l *Ledger, h []Placed) []Placed {
			l.watched["early"] = slices.Delete(l.watched["early"], 3, 4)
			return h
		}, "watcher early saw"},
		{"watcher sees one twice", func(l *Ledger, h []Placed) []Placed {
			l.watched["early"] = slices.Insert(l.watched["early"], 3, l.watched["early"][3])
			return h
		}, "watcher early saw"},
		{"watcher sees another order", func(l *Ledger, h []Placed) []Placed {
			seen := l.watched["early"]
			seen[3].Message, seen[4].Message = seen[4].Message, seen[3].Message
			return h
		}, "watcher early saw"},
		{"watcher sees what is not in the history", func(l *Ledger, h []Placed) []Placed {
			l.See("late", Placed{Place{"epoch", 9}, Message{From: "user1", Content: "sent, and lost on the way"}})
			return h
		}, "watcher late saw 1 messages more"},
		{"watcher begins with what is not in the history", func(l *Ledger, h []Placed) []Placed {
			l.watched["late"][0].Offset = 0
			return h
		}, "watcher late began with"},
		{"watcher sees nothing", func(l *Ledger, h []Placed) []Placed {
			l.See("blind")
			return h
		}, "watcher blind saw 0 messages"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			l, history := conversation()
			problems := l.Check(test.falsify(l, slices.Clone(history)))
			switch found := strings.Join(problems, "\n"); {
			case test.want == "" && len(problems) > 0:
				t.Errorf("blamed for nothing:\n%s", found)
			case test.want != "" && !strings.Contains(found, test.want):
				t.Errorf("no problem with %q was found, but:\n%s", test.want, found)
			}
		})
	}
}
