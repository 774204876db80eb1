package chatsvc

import (
	"bufio"
	"fmt"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/internal/record"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// writeText writes b for a person: one line for each message. Nothing marks a silence.
func (s *stream) writeText(b batch) error {
	if b.count == 0 {
		return s.control.Flush()
	}
	return s.writeEach(func(w *bufio.Writer) error {
		for i := b.index; i < len(b.ends); i++ {
			m, err := record.Parse(b.records[start(i, b.ends):b.ends[i]])
			if err != nil {
				return err
			}
			if err := writeTextLine(w, m); err != nil {
				return err
			}
		}
		return nil
	})
}

// lastTime is the last millisecond of the year 9999: a later timestamp is shown as the
// number that it is.
const lastTime = 253_402_300_799_999

// writeTextLine writes a message as its time, name and text. What a terminal would
// obey, or would show as something else, is visible instead.
func writeTextLine(w *bufio.Writer, m record.Message) error {
	if m.Timestamp <= lastTime {
		_, _ = w.WriteString(time.UnixMilli(int64(m.Timestamp)).UTC().Format(time.RFC3339))
	} else {
		_, _ = w.WriteString(strconv.FormatUint(m.Timestamp, 10))
	}
	_ = w.WriteByte(' ')
	if m.From == "" {
		_, err := w.WriteString("[a message that cannot be read]\n")
		return err
	}
	writeVisible(w, []byte(m.From))
	_, _ = w.WriteString(": ")
	switch {
	case m.Type == uint64(chatpb.ChatMessage_Image):
		_, _ = w.WriteString("[image, " + sizeText(len(m.Content)) + "]")
	case m.Type == uint64(chatpb.ChatMessage_Text), utf8.Valid(m.Content):
		writeVisible(w, m.Content)
	default:
		_, _ = w.WriteString("[unknown, " + sizeText(len(m.Content)) + "]")
	}
	return w.WriteByte('\n')
}

// writeVisible writes text as it is, apart from control characters, those that change
// the direction of the text around them, and bytes that are not UTF-8: they are escaped
// as in Go's strings. A joiner of an emoji stays.
func writeVisible(w *bufio.Writer, text []byte) {
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && n == 1:
			_, _ = fmt.Fprintf(w, `\x%02x`, text[0])
		case unicode.IsGraphic(r) || r == '\u200c' || r == '\u200d':
			_, _ = w.Write(text[:n])
		default:
			escaped := strconv.QuoteRuneToASCII(r)
			_, _ = w.WriteString(escaped[1 : len(escaped)-1])
		}
		text = text[n:]
	}
}

// sizeText returns a number of bytes for a person.
func sizeText(bytes int) string {
	switch {
	case bytes < 1<<10:
		return strconv.Itoa(bytes) + " B"
	case bytes < 1<<20-1<<9:
		return strconv.Itoa((bytes+1<<9)>>10) + " KiB"
	default:
		return strconv.FormatFloat(float64(bytes)/(1<<20), 'f', 1, 64) + " MiB"
	}
}
