package tui

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"example.com/simplechat/chatsvc/visible"
)

const (
	// tab is what a tab becomes: its width depends on the column otherwise.
	tab = "    "
	// maxMarks is how many combining characters may follow each other. Living languages
	// use four; hundreds paint over the lines above.
	maxMarks = 4
	// maxNameWidth is the widest name in cells.
	maxNameWidth = 24
	// maxLineBytes bounds what is looked at of a text that becomes one line.
	maxLineBytes = 4096
)

// cleanText returns text from elsewhere in a form that cannot control a terminal, and whose
// width is what [ansi.StringWidth] measures. Control characters, those that change the
// direction of writing and bytes that are not UTF-8 are made visible as [visible.String]
// does; what has no width and no effect is removed. Lines end with \n.
func cleanText(s string) string {
	c := cleaner{}
	c.Grow(len(s))
	s = strings.ReplaceAll(s, "\r\n", "\n")
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			c.addText(visible.String(s[:1]))
		} else {
			c.write(r)
		}
		s = s[n:]
	}
	return c.String()
}

// cleanLine is [cleanText] for one line of at most width cells.
func cleanLine(s string, width int) string {
	if len(s) > maxLineBytes {
		s = s[:maxLineBytes]
	}
	line := strings.ReplaceAll(cleanText(s), "\n", `\n`)
	return ansi.Truncate(line, width, "…")
}

// cleaner builds a clean text. The zero value is ready.
type cleaner struct {
	strings.Builder

	marks  int  // combining characters since the last base
	joined bool // the last character was a joiner
	based  bool // there is a character on this line to combine with
}

// write adds what r looks like.
func (c *cleaner) write(r rune) {
	switch {
	case r == '\n' || r == '\u2028' || r == '\u2029':
		_ = c.WriteByte('\n')
		c.marks, c.joined, c.based = 0, false, false
	case r == '\t':
		c.addText(tab)
	case isIgnorable(r):
	case r == '\u200c' || r == '\u200d':
		c.join(r)
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc):
		c.mark(r)
	case r == '\u3000':
		c.addText("  ")
	case unicode.Is(unicode.Zs, r):
		c.add(' ')
	case isFiller(r):
		c.add(utf8.RuneError)
	default:
		c.addText(visible.String(string(r)))
	}
}

// add adds a character that has a width.
func (c *cleaner) add(r rune) {
	_, _ = c.WriteRune(r)
	c.marks, c.joined, c.based = 0, false, r != ' '
}

func (c *cleaner) addText(s string) {
	_, _ = c.WriteString(s)
	c.marks, c.joined, c.based = 0, false, !strings.HasSuffix(s, " ")
}

// join adds a joiner. Emoji and some scripts need it between two characters.
func (c *cleaner) join(r rune) {
	if c.based && !c.joined {
		_, _ = c.WriteRune(r)
		c.joined = true
	}
}

// mark adds a combining character, to a dotted circle where there is nothing to combine
// with. A variation selector without a base is removed.
func (c *cleaner) mark(r rune) {
	isSelector := unicode.Is(unicode.Variation_Selector, r)
	if c.marks >= maxMarks || isSelector && (!c.based || r > 0xffff) {
		return
	}
	if !c.based {
		c.add('◌')
	}
	_, _ = c.WriteRune(r)
	c.marks++
	c.joined = false
}

// isIgnorable reports whether r is invisible and does nothing that matters in a terminal: soft
// hyphens, spaces without a width, hints for the direction of writing, and tags.
func isIgnorable(r rune) bool {
	return r == '\u00ad' || r == '\u200b' || r == '\u200e' || r == '\u200f' || r == '\u061c' ||
		r == '\u2060' || r == '\ufeff' || r >= '\U000e0000' && r <= '\U000e007f'
}

// isFiller reports whether r is a letter that nobody sees.
func isFiller(r rune) bool {
	return r == '\u115f' || r == '\u1160' || r == '\u3164' || r == '\uffa0' || r == '\u2800'
}
