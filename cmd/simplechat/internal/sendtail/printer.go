package sendtail

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/visible"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// printer is a target that prints messages.
type printer struct {
	w      *bufio.Writer
	form   func(b []byte, e chatclient.Event, file string) []byte
	images *images // nil: none are saved
	line   []byte
}

var _ target = (*printer)(nil)

// newPrinter returns a printer of what form appends for a message, whose content may be
// in a file.
func newPrinter(w io.Writer, form func(b []byte, e chatclient.Event, file string) []byte, images *images) *printer {
	return &printer{w: bufio.NewWriterSize(w, 64<<10), form: form, images: images}
}

// handle implements target.
func (p *printer) handle(e chatclient.Event) error {
	file, err := p.images.save(e)
	if err != nil {
		return err
	}
	p.line = p.form(p.line[:0], e, file)
	if len(p.line) > p.w.Available() { // a kill leaves no part of a line
		if err := p.w.Flush(); err != nil {
			return err
		}
	}
	_, err = p.w.Write(p.line)
	return err
}

// flush implements target.
func (p *printer) flush() error { return p.w.Flush() }

// isDone implements target.
func (*printer) isDone() bool { return false }

// appendMessageJSON appends a message in JSON.
func appendMessageJSON(b []byte, e chatclient.Event, file string) []byte {
	return appendJSON(b, newMessageLine(e, file))
}

// lastTime is the last millisecond of the year 9999: a later timestamp is shown as the
// number that it is.
const lastTime = 253_402_300_799_999

// indent is what the further lines of a text begin with, so that they do not look like
// messages.
const indent = "    "

// appendMessageText appends a message for a person. Nothing in it can control the
// terminal.
func appendMessageText(b []byte, e chatclient.Event, file string) []byte {
	msg := e.Message
	if stamp := msg.GetTimestamp(); stamp <= lastTime {
		b = time.UnixMilli(int64(stamp)).AppendFormat(b, time.DateTime)
	} else {
		b = strconv.AppendUint(b, stamp, 10)
	}
	b = append(b, ' ')
	if msg.GetFrom() == "" {
		return append(b, "[a message that cannot be read]\n"...)
	}
	b = append(visible.Append(b, []byte(msg.GetFrom())), ": "...)
	switch isText := msg.GetType() == chatpb.ChatMessage_Text || utf8.Valid(msg.GetContent()); {
	case msg.GetType() == chatpb.ChatMessage_Image:
		b = fmt.Appendf(b, "[image, %s]", visible.Size(len(msg.GetContent())))
	case isText:
		b = appendLines(b, msg.GetContent())
	default:
		b = fmt.Appendf(b, "[unknown, %s]", visible.Size(len(msg.GetContent())))
	}
	if file != "" {
		b = visible.Append(append(b, ' '), []byte(file))
	}
	return append(b, '\n')
}

// appendLines appends a text whose lines stay lines.
func appendLines(b, text []byte) []byte {
	for i, line := range bytes.Split(trimEnd(text), []byte("\n")) {
		if i > 0 {
			b = append(append(b, '\n'), indent...)
		}
		line = bytes.TrimSuffix(line, []byte("\r"))
		for j, part := range bytes.Split(line, []byte("\t")) {
			if j > 0 {
				b = append(b, indent...)
			}
			b = visible.Append(b, part)
		}
	}
	return b
}
