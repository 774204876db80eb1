package tui

import (
	"context"
	"strings"
	"testing"
	"time"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// patience is how long a test waits for what must happen. Nothing asserts that it happens
// faster.
const patience = 60 * time.Second

// noon is the time of the programs under test: 2026-09-21 14:13:20 UTC.
var noon = time.Unix(1_790_000_000, 0)

// screen runs a Model without a terminal. It is used by one goroutine.
type screen struct {
	tb   testing.TB
	m    *Model
	msgs chan tea.Msg
	quit bool
}

// newScreen returns a program of a size, without colours.
func newScreen(tb testing.TB, width, height int, o Options) *screen {
	tb.Helper()
	s := &screen{tb: tb, m: newModel(tb.Context(), o), msgs: make(chan tea.Msg)}
	s.m.zone, s.m.now = time.UTC, func() time.Time { return noon }
	s.run(s.m.Init())
	s.send(tea.ColorProfileMsg{Profile: colorprofile.NoTTY})
	s.send(tea.WindowSizeMsg{Width: width, Height: height})
	return s
}

// run starts a command, as bubbletea does.
func (s *screen) run(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		msg := cmd()
		if msg == nil {
			return
		}
		select {
		case s.msgs <- msg:
		case <-s.tb.Context().Done():
		}
	}()
}

// send updates the model.
func (s *screen) send(msg tea.Msg) {
	s.tb.Helper()
	switch msg := msg.(type) {
	case tea.BatchMsg:
		for _, cmd := range msg {
			s.run(cmd)
		}
		return
	case tea.QuitMsg:
		s.quit = true
		return
	}
	_, cmd := s.m.Update(msg)
	s.run(cmd)
	s.check()
}

// check fails the test if the screen is larger than the terminal, or if anything on it
// could control the terminal.
func (s *screen) check() {
	s.tb.Helper()
	lines := strings.Split(s.text(), "\n")
	if len(lines) > s.m.height {
		s.tb.Fatalf("%d lines on a screen of %d:\n%s", len(lines), s.m.height, s.text())
	}
	for _, line := range lines {
		if w := ansi.StringWidth(line); w > s.m.width {
			s.tb.Fatalf("a line has %d cells on a screen of %d: %q", w, s.m.width, line)
		}
		if strings.ContainsFunc(line, unicode.IsControl) {
			s.tb.Fatalf("a control character is in %q", line)
		}
	}
}

// text returns the screen without colours.
func (s *screen) text() string { return ansi.Strip(s.m.View().Content) }

// until handles what comes until a condition holds.
func (s *screen) until(what string, holds func() bool) {
	s.tb.Helper()
	deadline := time.After(patience)
	for !holds() {
		select {
		case msg := <-s.msgs:
			s.send(msg)
		case <-deadline:
			s.tb.Fatalf("%s: not on the screen\n%s", what, s.text())
		}
	}
}

// await handles what comes until the screen shows a text.
func (s *screen) await(text string) {
	s.tb.Helper()
	s.until(text, func() bool { return strings.Contains(s.text(), text) })
}

// awaitNot handles what comes until the screen does not show a text.
func (s *screen) awaitNot(text string) {
	s.tb.Helper()
	s.until("without "+text, func() bool { return !strings.Contains(s.text(), text) })
}

// press presses keys, named as bubbletea does.
func (s *screen) press(names ...string) {
	s.tb.Helper()
	for _, name := range names {
		s.send(keyPress(name))
	}
}

// enter types a text and presses Enter.
func (s *screen) enter(text string) {
	s.tb.Helper()
	for _, r := range text {
		s.send(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
	s.press("enter")
}

// keys are those that tests press.
var keys = map[string]tea.KeyPressMsg{
	"enter":     {Code: tea.KeyEnter},
	"alt+enter": {Code: tea.KeyEnter, Mod: tea.ModAlt},
	"tab":       {Code: tea.KeyTab},
	"esc":       {Code: tea.KeyEscape},
	"up":        {Code: tea.KeyUp},
	"down":      {Code: tea.KeyDown},
	"pgup":      {Code: tea.KeyPgUp},
	"pgdown":    {Code: tea.KeyPgDown},
	"ctrl+home": {Code: tea.KeyHome, Mod: tea.ModCtrl},
	"ctrl+c":    {Code: 'c', Mod: tea.ModCtrl},
	"ctrl+r":    {Code: 'r', Mod: tea.ModCtrl},
	"ctrl+u":    {Code: 'u', Mod: tea.ModCtrl},
	"backspace": {Code: tea.KeyBackspace},
}

func keyPress(name string) tea.KeyPressMsg {
	msg, ok := keys[name]
	if !ok || msg.String() != name {
		panic("there is no key " + name)
	}
	return msg
}

// server is a service that can be reached at url.
type server struct {
	*chatsvc.Service

	url string
}

// newServer serves a service with the users of Qt's example.
func newServer(tb testing.TB, opts ...chatsvc.Option) *server {
	tb.Helper()
	svc, srv := testkit.Serve(tb, false, opts...)
	return &server{svc, srv.URL}
}

// options are those of a program that is logged in as user1.
func (s *server) options() Options {
	return Options{Server: "http://chat.example", Name: "user1", Password: "qwerty", Login: loginTo(s.url)}
}

// loginTo returns the LoginFunc for a server.
func loginTo(url string) LoginFunc {
	return func(ctx context.Context, name, password string, onRetry func(chatclient.Retry)) (Conversation, error) {
		client, err := chatclient.New(url, chatclient.WithBasicAuth(name, password), chatclient.WithRetryObserver(onRetry))
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, client.Close)
		return client, nil
	}
}

// say publishes texts of a user.
func (s *server) say(tb testing.TB, user string, texts ...string) {
	tb.Helper()
	for _, text := range texts {
		s.publish(tb, user, &chatpb.ChatMessage{Type: chatpb.ChatMessage_Text, Content: []byte(text)})
	}
}

// publish publishes a message at noon, unless it has a time of its own.
func (s *server) publish(tb testing.TB, user string, msg *chatpb.ChatMessage) {
	tb.Helper()
	if msg.GetTimestamp() == 0 {
		msg.Timestamp = uint64(noon.UnixMilli())
	}
	if _, err := s.Publish(context.WithoutCancel(tb.Context()), chatsvc.User{Name: user}, msg); err != nil {
		tb.Fatal(err)
	}
}
