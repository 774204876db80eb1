package sendtail

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// event returns the event of a text.
func event(from, text string) chatclient.Event {
	return chatclient.Event{Offset: 7, Epoch: "E", Message: &chatpb.ChatMessage{
		From: from, Content: []byte(text), Type: chatpb.ChatMessage_Text, Timestamp: 1,
	}}
}

func TestMessageText(t *testing.T) {
	t.Parallel()
	image := event("ada", "\x89PNG")
	image.Message.Type = chatpb.ChatMessage_Image
	unknown := event("ada", "\xff\xfe")
	unknown.Message.Type = chatpb.ChatMessage_Unknown
	late := event("ada", "late")
	late.Message.Timestamp = 1 << 63
	for _, tt := range []struct {
		name  string
		event chatclient.Event
		file  string
		want  string // without the time
	}{
		{"text", event("ada", "hello"), "", "ada: hello"},
		{"lines do not look like messages", event("ada", "a\r\n1970-01-01 00:00:00 bob: b\n"), "", "ada: a\n    1970-01-01 00:00:00 bob: b"},
		{"a tab", event("ada", "a\tb"), "", "ada: a    b"},
		{"an escape", event("ada", "\x1b]0;title\a\u009b2J"), "", `ada: \x1b]0;title\a\u009b2J`},
		{"an escape in a name", event("a\x1b[2Jb\nc", "x"), "", `a\x1b[2Jb\nc: x`},
		{"a return over the name", event("ada", "\rbob: hi"), "", `ada: \rbob: hi`},
		{"an image", image, "", "ada: [image, 4 B]"},
		{"an image in a file", image, "/tmp/\x1b.png", `ada: [image, 4 B] /tmp/\x1b.png`},
		{"unknown bytes", unknown, "", "ada: [unknown, 2 B]"},
		{"redacted", event("", ""), "", "[a message that cannot be read]"},
		{"a time beyond all", late, "", "ada: late"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := string(appendMessageText(nil, tt.event, tt.file))
			if !strings.HasSuffix(got, " "+tt.want+"\n") {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// Nothing in a message or name can control a terminal, in either form.
func FuzzMessageForms(f *testing.F) {
	f.Add("ada", "hello\n\tworld")
	f.Add("\x1b[2J", "\u009b31m\u202e\U000e0001\x7f\x00\xff\u2028")
	f.Fuzz(func(t *testing.T, from, text string) {
		for name, form := range map[string]func([]byte, chatclient.Event, string) []byte{"text": appendMessageText, "json": appendMessageJSON} {
			got := string(form(nil, event(from, text), ""))
			body := strings.ReplaceAll(got, "\n", "")
			if !utf8.ValidString(got) || strings.ContainsFunc(body, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' || r == '\u2028' }) {
				t.Errorf("%s: %q", name, got)
			}
			if name != "json" {
				continue
			}
			var line messageLine
			if err := json.Unmarshal([]byte(got), &line); err != nil || strings.Count(got, "\n") != 1 {
				t.Fatalf("%q: %v", got, err)
			}
			if utf8.ValidString(from) && line.From != from {
				t.Errorf("from %q became %q", from, line.From)
			}
			if content := string(line.Content); line.Text != nil && *line.Text != text || line.Text == nil && content != text {
				t.Errorf("%q became %q", text, got)
			}
		}
	})
}

// wholeLines is a writer that takes nothing but whole lines.
type wholeLines struct{ tb testing.TB }

func (w wholeLines) Write(p []byte) (int, error) {
	if p[len(p)-1] != '\n' {
		w.tb.Errorf("%d bytes that end in the middle of a line", len(p))
	}
	return len(p), nil
}

// A process that is killed leaves no part of a line behind.
func TestPrinterWritesWholeLines(t *testing.T) {
	t.Parallel()
	p := newPrinter(wholeLines{t}, appendMessageText, nil)
	for size := range 1000 {
		if err := p.handle(event("ada", strings.Repeat("x", size*size%200_000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.flush(); err != nil {
		t.Fatal(err)
	}
}
