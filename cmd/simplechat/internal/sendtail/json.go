package sendtail

import (
	"encoding/json"
	"fmt"
	"strconv"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// sentLine is what send prints of a message. Numbers are text, as in all JSON of the
// server.
type sentLine struct {
	Line      int    `json:"line,omitempty"` // of standard input
	Offset    string `json:"offset,omitempty"`
	Epoch     string `json:"epoch,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"`

	Code    string `json:"code,omitempty"` // why it was refused
	Message string `json:"message,omitempty"`
}

func newSentLine(number int, sent chatclient.Sent) sentLine {
	return sentLine{Line: number, Offset: strconv.FormatUint(sent.Offset, 10), Epoch: sent.Epoch, Duplicate: sent.Duplicate}
}

func newRefusedLine(number int, err error) sentLine {
	return sentLine{Line: number, Code: connect.CodeOf(err).String(), Message: err.Error()}
}

// messageLine is what tail prints of a message.
type messageLine struct {
	Offset    string  `json:"offset"`
	Epoch     string  `json:"epoch"`
	Timestamp string  `json:"timestamp"` // milliseconds since 1970
	From      string  `json:"from"`
	Type      string  `json:"type"`
	Text      *string `json:"text,omitempty"`
	Content   []byte  `json:"content,omitempty"` // in base64, of what is no text
	File      string  `json:"file,omitempty"`    // that has the content
}

// newMessageLine returns the line of a message whose content is in a file, or in none.
func newMessageLine(e chatclient.Event, file string) messageLine {
	msg := e.Message
	line := messageLine{
		Offset: strconv.FormatUint(e.Offset, 10), Epoch: e.Epoch, Timestamp: strconv.FormatUint(msg.GetTimestamp(), 10),
		From: msg.GetFrom(), Type: msg.GetType().String(), File: file,
	}
	switch {
	case msg.GetType() == chatpb.ChatMessage_Text && utf8.Valid(msg.GetContent()):
		text := string(msg.GetContent())
		line.Text = &text
	case file == "":
		line.Content = msg.GetContent()
	}
	return line
}

// appendJSON appends the JSON of a line, with its end. Characters that could control a
// terminal are escaped.
func appendJSON(b []byte, line any) []byte {
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err) // there is nothing in a line that cannot be encoded
	}
	for len(encoded) > 0 {
		r, n := utf8.DecodeRune(encoded)
		switch {
		case unicode.IsGraphic(r):
			b = append(b, encoded[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
		encoded = encoded[n:]
	}
	return append(b, '\n')
}
