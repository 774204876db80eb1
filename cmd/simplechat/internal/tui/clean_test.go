package tui

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Characters that could control a terminal, or deceive its reader, are visible or gone.
func TestCleanText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"text", "hello, \u4e16\u754c 🎉", "hello, \u4e16\u754c 🎉"},
		{"lines", "a\nb\r\nc\u2028d", "a\nb\nc\nd"},
		{"a tab", "a\tb", "a    b"},
		{"colour", "\x1b[31mred", `\x1b[31mred`},
		{"a title", "\x1b]0;owned\a", `\x1b]0;owned\a`},
		{"a lone CR", "good\rbad", `good\rbad`},
		{"backspaces", "ab\b\bc\x7f", `ab\b\bc\x7f`},
		{"C1", "\u009b31m", `\u009b31m`},
		{"C1 as one byte", "\x9b31m", `\x9b31m`},
		{"not UTF-8", "a\xffb\xe4\xb8", `a\xffb\xe4\xb8`},
		{"direction", "\u202egnp.exe\u2066", `\u202egnp.exe\u2066`},
		{"no width", "a\u200bb\ufeff\u00ad\u200e", "ab"},
		{"an emoji of several", "👨\u200d👩\u200d👧 ❤\ufe0f", "👨\u200d👩\u200d👧 ❤\ufe0f"},
		{"joiners alone", "\u200d\u200d a\u200d\u200d\u200db", " a\u200db"},
		{"accents", "e\u0301", "e\u0301"},
		{"too many accents", "e" + strings.Repeat("\u0301", 500), "e" + strings.Repeat("\u0301", maxMarks)},
		{"an accent alone", "\u0301a\n\u0301", "◌\u0301a\n◌\u0301"},
		{"selectors", "\ufe0f\ufe0fa\U000e0100", "a"},
		{"odd spaces", "a\u00a0b\u3000c", "a b  c"},
		{"letters that nobody sees", "a\u3164b\u115fc", "a\ufffdb\ufffdc"},
		{"private and unassigned", "\ue000\U0010ffff\ufdd0", `\ue000\U0010ffff\ufdd0`},
	} {
		if got := cleanText(tt.text); got != tt.want {
			t.Errorf("%s: %q is shown as %q, not %q", tt.name, tt.text, got, tt.want)
		}
	}
}

// Names have one line, and a width that leaves space for the rest.
func TestCleanLine(t *testing.T) {
	t.Parallel()
	if got := cleanLine("a\nb\x1b[2J", 80); got != `a\nb\x1b[2J` {
		t.Errorf("it is %q", got)
	}
	for _, name := range []string{strings.Repeat("x", 10_000), strings.Repeat("\u5b57", 10_000), strings.Repeat("\u0301", 10_000)} {
		if got := cleanLine(name, maxNameWidth); ansi.StringWidth(got) > maxNameWidth || len(got) > 1000 {
			t.Errorf("a long name is %q", got)
		}
	}
}

// Texts and names that try to control the terminal are harmless on the whole screen.
func TestHostileMessages(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	const attack = "\x1b[2J\x1b]0;owned\a\x1bP1$r\x1b\\\u009b5n\x07\x0e\u202e\r\b"
	server.say(t, "eve\x1b[2J\u202e", attack, "after "+strings.Repeat("e\u0301\u0302\u0303\u0304\u0305", 400))
	server.publish(t, strings.Repeat("n", 256), &chatpb.ChatMessage{Type: chatpb.ChatMessage_Unknown, Content: []byte(attack)})
	server.say(t, "user2", "the end")
	s := newScreen(t, 80, 40, server.options())
	s.await("the end") // each screen is checked
	s.await(`eve\x1b[2J\u202e`)
	s.await(`\x1b[2J\x1b]0;owned\a`)
	s.await("nnnnnnnnnnnnnnnnnnnnnnn…  14:13")
}

// No text gets past cleanText with something in it that is not printed.
func FuzzCleanText(f *testing.F) {
	f.Add("hello\x1b[31m\u202e\u009b\xff e\u0301 👨\u200d👩 \u3164\t\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := cleanText(text)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		for _, r := range got {
			if r != '\n' && r != '\u200c' && r != '\u200d' && !unicode.IsGraphic(r) {
				t.Errorf("%q has %U", got, r)
			}
		}
		for _, line := range wrap(got, 10) {
			if w := ansi.StringWidth(line); w > 10 {
				t.Errorf("%q has %d cells", line, w)
			}
		}
	})
}
