//go:build unix

package main

import (
	"bytes"
	"fmt"
	pixels "image"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// startChat runs "simplechat chat" as user1 on a terminal, and returns when it is connected.
func startChat(tb testing.TB, p *process, width, height int, env ...string) *tmux {
	tb.Helper()
	tm := newTmux(tb, width, height, append([]string{"SIMPLECHAT_SERVER=" + p.url(""), "SIMPLECHAT_USER=user1", "SIMPLECHAT_PASSWORD=qwerty"}, env...)...)
	tm.start(simplechat(tb), "chat")
	tm.await("● connected")
	return tm
}

// say sends texts as a user.
func (p *process) say(user string, texts ...string) {
	p.tb.Helper()
	client := p.client(user)
	for _, text := range texts {
		msg := &chatpb.ChatMessage{Type: chatpb.ChatMessage_Text, Content: []byte(text)}
		if _, err := client.SendMessage(chattest.Context(p.tb, patience), msg); err != nil {
			p.tb.Fatal(err)
		}
	}
}

// A user logs in, writes, reads, resizes the terminal and quits.
func TestChatInTerminal(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	p.say("user2", "good morning")
	tm := newTmux(t, 80, 24)
	tm.start(simplechat(t), "chat", "--server", p.url(""))
	tm.await("User", "Password", "Enter: log in")
	tm.enter("user1")
	tm.enter("guessed")
	tm.await("does not know this name")
	tm.enter("qwerty")
	tm.await("● connected", "good morning", "> Write a message")

	tm.run("send-keys", "-l", "two")
	tm.press("M-Enter")
	tm.await("> two\n")
	tm.enter("lines")
	tm.await("  you\n", strings.Repeat(" ", 75)+"two", strings.Repeat(" ", 75)+"lines")
	tm.press("Up")
	tm.await("> two\n  lines\n")
	tm.press("Down")
	tm.await("> Write a message")
	p.say("user2", "an answer")
	tm.await("an answer")

	tm.resize(40, 10)
	tm.await("an answer\n"+strings.Repeat("─", 40)+"\n> Write a message\n", "● connected")
	tm.resize(120, 30)
	tm.await(strings.Repeat("─", 120), "good morning", "an answer")
	tm.enter("/help")
	tm.await("/image PATH        send a")
	tm.press("Escape")
	tm.await("good morning")
	tm.enter("/quit")
	tm.awaitRestored(0)
	if screen := tm.run("capture-pane", "-p", "-S", "-"); strings.Contains(screen, "good morning") {
		t.Errorf("the conversation is left on the screen:\n%s", screen)
	}
}

// However the program is ended, the terminal is as it was.
func TestChatSignals(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			tm := startChat(t, p, 80, 24)
			tm.run("send-keys", "-l", "half a mess")
			tm.await("> half a mess")
			tm.signal(sig)
			tm.awaitRestored(0)
		})
	}
	t.Run("Ctrl+C", func(t *testing.T) {
		t.Parallel()
		tm := startChat(t, p, 80, 24)
		tm.press("C-c")
		tm.awaitRestored(0)
	})
}

// When the server goes away the program says so, and sends what was written when it is
// back, once.
func TestChatServerRestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := startServer(t, "--data", data)
	addr := p.addr
	tm := startChat(t, p, 80, 24)
	tm.enter("before")
	tm.until("before, sent", func(screen string) bool {
		return strings.Contains(screen, "before") && !strings.Contains(screen, "sending…")
	})
	p.stop()
	tm.await("reconnecting")
	tm.enter("while it was away")
	tm.await("while it was away\n", "sending…")
	tm.press("C-c")
	tm.await("1 message not sent yet")
	p = startServerEnv(t, nil, "--listen", addr, "--data", data)
	tm.await("● connected")
	p.say("user2", "welcome back")
	screen := tm.until("everything", func(screen string) bool {
		return strings.Contains(screen, "welcome back") && !strings.Contains(screen, "sending…")
	})
	for _, text := range []string{"before", "while it was away", "welcome back"} {
		if n := strings.Count(screen, text); n != 1 {
			t.Errorf("%q is on the screen %d times", text, n)
		}
	}
}

// Nothing that others write controls the terminal.
func TestChatHostile(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	p.say("user2", "\x1b[2J\x1b]0;owned\a\x1b[?1049l\x1b[31mred \u009b2J \u202egnp.exe", "\x1b[?25h\x1bc\x0e\x07\x1bP+q\x1b\\",
		strings.Repeat("e\u0301\u0302\u0303\u0304\u0305\u0306\u0307", 100), "the end")
	tm := startChat(t, p, 80, 24)
	tm.await("● connected", "SimpleChat  user1", `\x1b[2J\x1b]0;owned\a\x1b[?1049l\x1b[31mred`, `\u009b2J`, `\u202egnp.exe`, `\x1bc\x0e\a\x1bP`, "the end")
	if state := strings.TrimSpace(tm.run("display-message", "-p", "#{alternate_on} #{pane_title}")); state != "1 SimpleChat" {
		t.Errorf("the terminal's state is %q", state)
	}
}

// The wheel, the keys and long pastes.
func TestChatScrollAndPaste(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	for i := range 300 {
		p.say("user2", fmt.Sprintf("line %d.", i+1))
	}
	tm := startChat(t, p, 80, 24)
	tm.await("line 300.")
	tm.run("send-keys", "-l", "\x1b[<64;10;10M") // the wheel, as terminals report it
	tm.await("line 297.\n──", "newer messages")
	p.say("user2", "news")
	tm.await("↓ 1 new")
	for !strings.Contains(tm.screen(), "line 1.\n") {
		tm.press("C-Home")
	}
	tm.await("the beginning of the conversation")
	tm.press("Escape")
	tm.await("news\n──")

	tm.paste("short\ntext")
	tm.await("> short\n  text\n")
	tm.press("Enter")
	tm.await("short\n", "> Write a message")
	tm.paste(strings.Repeat("a line of a long text\n", 1000))
	tm.await("> [paste 1: 1001 lines, 21 KiB]")
	tm.press("Enter")
	tm.await("[the text has 21 KiB: /save 303 PATH writes all of it]")
	tm.paste(strings.Repeat("x", 1<<20+1))
	tm.await("the pasted text has 1.0 MiB", "> Write a message")
}

// An image is sent, shown in colours, and saved.
func TestChatImages(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	var file bytes.Buffer
	if err := png.Encode(&file, pixels.NewGray(pixels.Rect(0, 0, 40, 20))); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "an image.png")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	tm := startChat(t, p, 100, 40, "COLORTERM=truecolor")
	tm.enter("/image " + path)
	tm.await("[image 1: PNG, 40 × 20, ", strings.Repeat("▀", 40)+"\n")
	saved := filepath.Join(dir, "saved.png")
	tm.enter("/save " + saved)
	tm.await("✓ saved ")
	if content, err := os.ReadFile(saved); err != nil || !bytes.Equal(content, file.Bytes()) {
		t.Errorf("%d bytes were saved: %v", len(content), err)
	}
	tm.enter("/save " + saved)
	tm.await("exists")
}

// Without colours everything is still readable.
func TestChatWithoutColours(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	p.say("user2", "hello")
	tm := startChat(t, p, 80, 24, "NO_COLOR=1")
	tm.enter("mine")
	tm.await("mine\n", "hello")
	colour := regexp.MustCompile(`\x1b\[([0-9;]*;)?(3[0-8]|4[0-8]|9[0-7]|10[0-7])[;m]`)
	if screen := tm.run("capture-pane", "-p", "-e"); colour.MatchString(screen) {
		t.Errorf("there are colours in %q", screen)
	}
	coloured := startChat(t, p, 80, 24)
	coloured.await("hello")
	if screen := coloured.run("capture-pane", "-p", "-e"); !colour.MatchString(screen) {
		t.Errorf("there are no colours in %q", screen)
	}
}

// Where there is no terminal, the message names the commands that need none.
func TestChatNeedsTerminal(t *testing.T) {
	t.Parallel()
	r := runHere(t, "chat")
	if r.code != 2 || !strings.Contains(r.stderr, "simplechat tail") {
		t.Errorf("exit code %d: %s", r.code, r.stderr)
	}
	p := startServer(t, "--memory")
	tm := newTmux(t, 80, 24, "TERM=dumb")
	tm.enter("TERM=dumb " + simplechat(t) + " chat --server " + p.url("") + `; echo "exit code $?".`)
	tm.await("exit code 2.", "simplechat tail")
}

// The command in the operators' README asks for the password, and connects.
func TestREADMEChat(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippets, err := parseSnippets(string(page))
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(snippets, func(s *snippet) bool { return s.name == "chat-terminal" })
	if i < 0 {
		t.Fatal("README.md does not run chat")
	}
	p := startServer(t, "--memory")
	tm := newTmux(t, 80, 24, "PATH="+toolPath(t, snippets), "SIMPLECHAT_SERVER="+p.url(""))
	tm.enter(strings.TrimSpace(snippets[i].commands))
	tm.await("User      user1", "Password")
	tm.enter("qwerty")
	tm.await("● connected")
}
