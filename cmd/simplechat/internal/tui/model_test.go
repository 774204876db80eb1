package tui

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// A conversation as it is on the screen: others on the left, one's own messages on the
// right, days between them, and names above what was written at one time.
func TestConversation(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.say(t, "user2", "Good morning!", "Has the build finished?")
	server.say(t, "user1", "Yes.")
	server.publish(t, "user2", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Text, Content: []byte("The next day"), Timestamp: uint64(noon.Add(24 * time.Hour).UnixMilli())})
	s := newScreen(t, 50, 24, server.options())
	s.await("The next day")
	s.await("connected")
	const want = `
SimpleChat  user1 at http://chat.exam… ● connected
──────────────────────────────────────────────────




        the beginning of the conversation

─────────── Monday, 21 September 2026 ────────────

user2  14:13
Good morning!
Has the build finished?

                                        14:13  you
                                              Yes.

─────────── Tuesday, 22 September 2026 ───────────

user2  14:13
The next day
──────────────────────────────────────────────────
> Write a message
Enter sends · Alt+Enter new line · PgUp older · /…`
	if got := trimmed(s.text()); got != want[1:] {
		t.Errorf("the screen is\n%s\nand not\n%s", got, want)
	}
}

// trimmed returns a screen without the spaces at the end of lines, and without its time.
func trimmed(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// A message is on the screen while it is sent, and once when it has come back.
func TestSend(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	s := newScreen(t, 60, 20, server.options())
	s.await("no messages yet")
	s.enter("first line")
	s.await("sending…")
	s.until("sent", func() bool { return len(s.m.outbox.entries) == 0 })
	if text := s.text(); strings.Count(text, "first line") != 1 || strings.Contains(text, "sending") {
		t.Errorf("the screen is\n%s", text)
	}
	s.press("up")
	s.await("> first line")
	s.press("alt+enter")
	s.enter("second")
	s.until("sent", func() bool { return len(s.m.outbox.entries) == 0 && s.m.window.next == 3 })
	if got := string(s.m.window.find(2).msg.GetContent()); got != "first line\nsecond" {
		t.Errorf("the message is %q", got)
	}
}

// A message that the server refuses stays on the screen with the reason, until the user drops it.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := newServer(t, chatsvc.WithMaxContent(10))
	s := newScreen(t, 60, 20, server.options())
	s.await("connected")
	s.enter("longer than ten bytes")
	s.await("refused: ")
	s.enter("short")
	s.until("the short one", func() bool { return s.m.window.next == 2 && len(s.m.outbox.entries) == 1 })
	s.await("longer than ten bytes")
	s.press("ctrl+c")
	s.await("1 message not sent yet")
	s.press("ctrl+r")
	s.await("sending…")
	s.await("refused: ")
	s.enter("/drop")
	s.awaitNot("longer than")
	s.press("ctrl+c")
	s.until("the end", func() bool { return s.quit })
}

// Without a name and a password there is a form, and again if they are wrong.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.say(t, "user2", "hello")
	o := server.options()
	o.Name, o.Password = "", ""
	s := newScreen(t, 60, 20, o)
	s.await("Password")
	s.enter("user1")
	s.enter("guessed")
	s.await("does not know this name")
	s.enter("qwerty")
	s.await("hello")
	if strings.Contains(s.text(), "qwerty") {
		t.Error("the password is on the screen")
	}
}

// The form says what is wrong with a name that cannot be sent.
func TestLoginName(t *testing.T) {
	t.Parallel()
	o := newServer(t).options()
	o.Name, o.Password = "", ""
	s := newScreen(t, 60, 20, o)
	s.enter("a:b")
	s.enter("qwerty")
	s.await("colon")
	s.press("esc")
	s.until("the end", func() bool { return s.quit })
}

// Older messages are read when the user scrolls to them, and those that are far away are
// not kept.
func TestScrollback(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	const n = maxEntries + 3*openWith
	for i := range n {
		server.say(t, "user2", fmt.Sprintf("line %d.", i+1))
	}
	s := newScreen(t, 60, 20, server.options())
	s.await(fmt.Sprintf("line %d.", n))
	if first := s.m.window.first; first != n-openWith+1 {
		t.Errorf("the conversation opens with message %d", first)
	}
	for !strings.Contains(s.text(), "the beginning of the conversation") {
		s.press("ctrl+home")
		s.until("a page", func() bool { return !s.m.loading })
		if held := len(s.m.window.entries); held > maxEntries {
			t.Fatalf("%d messages are in memory", held)
		}
	}
	s.await("line 1.")
	server.say(t, "user2", "news")
	s.await("↓ 1 new")
	if s.m.window.atEnd() {
		t.Error("everything is in memory")
	}
	for range 2 * n { // each page is read on the way down
		s.press("pgdown")
		s.until("a page", func() bool { return !s.m.loading })
		if s.m.scroll.pinned {
			break
		}
	}
	s.await("news")
	if !s.m.window.atEnd() || len(s.m.window.entries) > maxEntries {
		t.Errorf("%d messages are in memory, up to %d of %d", len(s.m.window.entries), s.m.window.next, s.m.window.end)
	}
	for i, e := range s.m.window.entries {
		if want := s.m.window.first + uint64(i); e.offset != want || e.note != "" {
			t.Fatalf("message %d stands where %d belongs: %s", e.offset, want, e.note)
		}
	}
}

// Esc goes back to the newest message, however far away that is.
func TestJump(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	for i := range maxEntries + 3*openWith {
		server.say(t, "user2", fmt.Sprintf("line %d.", i+1))
	}
	s := newScreen(t, 60, 20, server.options())
	s.await("line 2600.")
	for s.m.window.first > 1 {
		s.press("ctrl+home")
		s.until("a page", func() bool { return !s.m.loading })
	}
	s.press("esc")
	s.await("line 2600.")
	if !s.m.scroll.pinned || !s.m.window.atEnd() {
		t.Error("the screen does not follow the conversation")
	}
}

// A line is above the first message that came while the user was away, and the title
// counts them.
func TestUnread(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.say(t, "user2", "seen")
	s := newScreen(t, 60, 20, server.options())
	s.await("seen")
	s.send(tea.BlurMsg{})
	server.say(t, "user2", "missed", "also missed")
	s.await("also missed")
	seen, line, missed := strings.Index(s.text(), "seen"), strings.Index(s.text(), " new ─"), strings.Index(s.text(), "missed")
	if seen > line || line > missed || line < 0 {
		t.Errorf("the line is not above what was missed:\n%s", s.text())
	}
	if title := s.m.View().WindowTitle; title != "(2) SimpleChat" {
		t.Errorf("the title is %q", title)
	}
	s.send(tea.FocusMsg{})
	if title := s.m.View().WindowTitle; title != "SimpleChat" {
		t.Errorf("the title is still %q", title)
	}
	s.await(" new ─")
	s.enter("an answer")
	s.await("an answer")
	s.awaitNot(" new ─")
}

// Terminals of all sizes have something to show, with everything that can be on a screen.
func TestSizes(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.say(t, "user2", "a text with several words", "\u65e5\u672c\u8a9e 👨‍👩‍👧‍👦 e\u0301", strings.Repeat("long", 1000), "\n\n\n")
	server.say(t, "user1", "mine", strings.Repeat("\u5b57", 300))
	server.publish(t, "user3", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: testPNG(t, 64, 64)})
	server.publish(t, "user3", &chatpb.ChatMessage{Type: chatpb.ChatMessage_Unknown, Content: []byte{1}})
	s := newScreen(t, 80, 24, server.options())
	s.until("everything", func() bool { return s.m.window.next == 9 })
	for _, size := range []struct{ width, height int }{{1, 1}, {2, 3}, {5, 2}, {10, 4}, {20, 5}, {40, 10}, {41, 13}, {80, 24}, {300, 100}, {3, 50}, {200, 3}} {
		s.send(tea.WindowSizeMsg{Width: size.width, Height: size.height})
		s.press("pgup", "pgup", "pgdown", "ctrl+home", "esc")
		s.enter("/help")
		s.press("down", "pgdown", "esc")
		s.enter("/nothing")
		s.press("ctrl+u", "esc")
		s.send(tea.MouseWheelMsg{Button: tea.MouseWheelUp})
		s.send(tea.MouseWheelMsg{Button: tea.MouseWheelDown})
	}
}

// When the password is no longer valid the user logs in again, and the conversation
// resumes where it was.
func TestLoginAgain(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.say(t, "user2", "before")
	s := newScreen(t, 60, 24, server.options())
	s.await("before")
	s.send(batchMsg{s.m.session, []any{ended{connect.NewError(connect.CodeUnauthenticated, nil)}}})
	s.await("does not know this name")
	server.say(t, "user2", "in between")
	s.enter("qwerty")
	s.await("in between")
	server.say(t, "user2", "after")
	s.await("after")
	for _, text := range []string{"before", "in between", "after"} {
		if n := strings.Count(s.text(), text); n != 1 {
			t.Errorf("%q is on the screen %d times:\n%s", text, n, s.text())
		}
	}
	if strings.Contains(s.text(), "no longer") {
		t.Errorf("something is lost:\n%s", s.text())
	}
}

// In a new epoch the conversation begins again with its last messages.
func TestNewEpoch(t *testing.T) {
	t.Parallel()
	server, other := newServer(t), newServer(t)
	server.say(t, "user2", "the old one")
	for i := range openWith + 50 {
		other.say(t, "user2", fmt.Sprintf("line %d.", i+1))
	}
	s := newScreen(t, 60, 24, server.options())
	s.await("the old one")
	s.m.options.Login = loginTo(other.url)
	s.send(batchMsg{s.m.session, []any{ended{connect.NewError(connect.CodeUnauthenticated, nil)}}})
	s.enter("qwerty")
	s.await("line 250.")
	if s.m.window.first != 51 || len(s.m.window.entries) != openWith+1 {
		t.Errorf("there are %d entries from %d on", len(s.m.window.entries), s.m.window.first)
	}
	if note := s.m.window.entries[0].note; !strings.Contains(note, "new conversation") {
		t.Errorf("the first entry is not the note: %q", note)
	}
}
