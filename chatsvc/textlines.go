package chatsvc

import (
	"bufio"
	"strconv"
	"time"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/visible"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// writeText writes b for a person: one line for each message. An empty batch is only
// flushed.
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

// lastTime is the last millisecond of the year 9999. Later timestamps are shown as
// numbers.
const lastTime = 253_402_300_799_999

// writeTextLine writes a message as its time, name and text. Characters that a terminal
// would obey, or would show as something else, are written in a visible form.
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
	_, _ = w.Write(visible.Append(w.AvailableBuffer(), []byte(m.From)))
	_, _ = w.WriteString(": ")
	switch {
	case m.Type == uint64(chatpb.ChatMessage_Image):
		_, _ = w.WriteString("[image, " + visible.Size(len(m.Content)) + "]")
	case m.Type == uint64(chatpb.ChatMessage_Text), utf8.Valid(m.Content):
		_, _ = w.Write(visible.Append(w.AvailableBuffer(), m.Content))
	default:
		_, _ = w.WriteString("[unknown, " + visible.Size(len(m.Content)) + "]")
	}
	return w.WriteByte('\n')
}
