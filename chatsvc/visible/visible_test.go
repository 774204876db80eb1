package visible_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/visible"
)

func TestString(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, text, want string }{
		{"text", "héllo, wörld", "héllo, wörld"},
		{"a family of joined emoji", "👩\u200d👧", "👩\u200d👧"},
		{"a colour", "\x1b[31mred", `\x1b[31mred`},
		{"a title", "\x1b]0;owned\a", `\x1b]0;owned\a`},
		{"an escape in one character", "\u009b31m", `\u009b31m`},
		{"another direction", "a\u202eb", `a\u202eb`},
		{"a line of its own", "a\nb\r\u2028", `a\nb\r\u2028`},
		{"bytes", "a\xffb", `a\xffb`},
		{"a delete", "a\x7f", `a\x7f`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := visible.String(tt.text); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func FuzzString(f *testing.F) {
	f.Add("\x1b[2J\u009b\u202e\xff\n")
	f.Fuzz(func(t *testing.T, text string) {
		got := visible.String(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) || strings.ContainsRune(got, '\u202e') {
			t.Errorf("%q became %q", text, got)
		}
	})
}
