// Package visible makes text safe for a terminal: nothing that a stranger wrote can move
// the cursor, change colours, ring, or look like something that it is not.
package visible

import (
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Append appends text as it is, apart from control characters, those that change the
// direction of the text around them, and bytes that are not UTF-8: they are escaped as in
// Go's strings. A joiner of an emoji stays. The result is valid UTF-8 on one line.
func Append(b, text []byte) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			b = fmt.Appendf(b, `\x%02x`, text[0])
		case unicode.IsGraphic(r) || r == '\u200c' || r == '\u200d':
			b = append(b, text[:n]...)
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			b = append(b, escaped[1:len(escaped)-1]...)
		}
		text = text[n:]
	}
	return b
}

// String returns text as [Append] does.
func String(text string) string { return string(Append(nil, []byte(text))) }

// Size returns a number of bytes for a person.
func Size(bytes int) string {
	switch {
	case bytes < 1<<10:
		return strconv.Itoa(bytes) + " B"
	case bytes < 1<<20-1<<9:
		return strconv.Itoa((bytes+1<<9)>>10) + " KiB"
	default:
		return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', 1, 64) + " MiB"
	}
}
