package tui

import (
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// The up key goes back over what was sent, and the down key comes back to what the user
// was writing. Inside a text they move the cursor.
func TestPast(t *testing.T) {
	t.Parallel()
	c := newComposer()
	c.resize(40, 24)
	for _, text := range []string{"one", "two\nlines", "two\nlines", "three"} {
		c.set(text)
		c.sent()
	}
	c.set("a draft")
	var got []string
	for c.older() || c.area.Line() > 0 {
		got = append(got, c.text())
		c.area.MoveToBegin()
	}
	if want := "three|two\nlines|one"; strings.Join(got, "|") != want {
		t.Errorf("the past is %q", got)
	}
	c.area.MoveToEnd()
	for c.newer() {
		c.area.MoveToEnd()
	}
	if c.text() != "a draft" {
		t.Errorf("the draft is %q", c.text())
	}
	c.set("first\nsecond")
	if c.older() {
		t.Error("the cursor is in the second line")
	}
}

// A long paste is one word in the input, and whole in the message. Removing the word
// removes the paste.
func TestPaste(t *testing.T) {
	t.Parallel()
	c := newComposer()
	c.resize(80, 24)
	long := strings.Repeat("a line\twith a tab\n", 3000)
	if err := c.paste("short\r\ntext\x1b[31m\u202e"); err != nil {
		t.Fatal(err)
	}
	if err := c.paste(long); err != nil {
		t.Fatal(err)
	}
	if word := c.area.Value(); word != "short\ntext[31m[paste 1: 3001 lines, 53 KiB]" {
		t.Errorf("the input is %q", word)
	}
	if c.text() != "short\ntext[31m"+long {
		t.Errorf("the message has %d bytes", len(c.text()))
	}
	if err := c.paste(strings.Repeat("x", maxContent+1)); err == nil || !strings.Contains(err.Error(), "1.0 MiB") {
		t.Errorf("a paste that is too long: %v", err)
	}
	c.set("")
	c.update(tea.KeyPressMsg{Code: 'x', Text: "x"})
	if c.text() != "x" || len(c.past) != 0 {
		t.Errorf("the message is %q", c.text())
	}
}

// Two pastes that are each short enough can be too long together: nothing is lost.
func TestTooLong(t *testing.T) {
	t.Parallel()
	s := newScreen(t, 80, 24, newServer(t).options())
	s.await("connected")
	s.send(tea.PasteMsg{Content: strings.Repeat("x", 700<<10)})
	s.send(tea.PasteMsg{Content: strings.Repeat("y", 700<<10)})
	s.press("enter")
	s.await("the message has 1.4 MiB")
	s.await("[paste 2: 1 line, 700 KiB]")
	s.press("backspace")
	s.until("an edited word is text", func() bool { return len(s.m.composer.text()) < 800<<10 })
}

// The longest message is written without long pauses: an input that looks at all of it for
// each key would take minutes here.
func TestLongestMessage(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := newScreen(t, 80, 24, server.options())
	s.await("connected")
	s.send(tea.PasteMsg{Content: strings.Repeat("word ", (1<<20)/5)})
	for range 200 {
		s.send(tea.KeyPressMsg{Code: tea.KeyLeft})
	}
	s.press("enter")
	s.await("the text has 1.0 MiB")
	s.until("sent", func() bool { return len(s.m.outbox.entries) == 0 })
	server.say(t, "user2", "the next one")
	s.await("the next one")
}

// A countdown and a state that are told by the session.
func TestState(t *testing.T) {
	t.Parallel()
	s := newScreen(t, 80, 24, newServer(t).options())
	s.await("connected")
	s.send(batchMsg{s.m.session, []any{interruption{errEnough, noon.Add(3 * time.Second)}}})
	s.await("reconnecting in 4 s: that was")
	s.m.now = func() time.Time { return noon.Add(5 * time.Second) }
	s.await("reconnecting…")
	s.send(batchMsg{s.m.session, []any{ended{errEnough}}})
	s.await("refused: that was all that is needed, Ctrl+R")
	s.press("ctrl+r")
	s.await("● connected")
}
