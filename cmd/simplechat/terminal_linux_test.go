package main

import (
	"slices"
	"strings"
	"testing"

	"example.com/simplechat/cmd/simplechat/internal/login"
)

// On a terminal a client asks for the missing name or password, and never shows the
// password.
func TestClientAsksForThePassword(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	for _, tt := range []struct {
		name  string
		env   []string
		typed []string // after each prompt
		code  int
	}{
		{"name and password", nil, []string{"user1\n", "qwerty\n"}, 0},
		{"password", []string{"SIMPLECHAT_USER=user1"}, []string{"", "qwerty\n"}, 0},
		{"wrong password", []string{"SIMPLECHAT_USER=user1"}, []string{"", "wr0ng\n"}, login.ExitUnauthenticated},
		{"interrupted", []string{"SIMPLECHAT_USER=user1"}, []string{"", "\x03"}, login.ExitInterrupted},
		{"interrupted at the name", nil, []string{"\x03"}, login.ExitInterrupted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			term := startTerminal(t, append(tt.env, "SIMPLECHAT_SERVER="+p.url("")), "send", "hello")
			if tt.typed[0] != "" {
				term.await("User: ")
				term.write(tt.typed[0])
			}
			if len(tt.typed) > 1 {
				term.await("Password of user1: ")
				term.awaitNoEcho()
				term.write(tt.typed[1])
			}
			term.drain()
			if code := term.end(); code != tt.code {
				t.Errorf("exit code %d, %d was due: %q", code, tt.code, term.seen.String())
			}
			if !term.echoes() {
				t.Error("the echo stays off")
			}
			if shown := term.seen.String(); strings.Contains(shown, "qwerty") || strings.Contains(shown, "wr0ng") {
				t.Errorf("the password is shown: %q", shown)
			}
		})
	}
}

// drain reads until the program has ended, so that nothing waits for the terminal.
func (t *terminal) drain() {
	buffer := make([]byte, 256)
	for {
		n, err := t.master.Read(buffer)
		t.seen.Write(buffer[:n])
		if err != nil { // nobody has the terminal open any more
			return
		}
	}
}

// On a terminal tail prints readable lines, and nothing in them controls it; typed lines
// are sent one by one.
func TestSendAndTailOnATerminal(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env := loginAs("user1", p.url(""))
	tail := startTerminal(t, slices.Concat(env, []string{"TZ=UTC"}), "tail")
	send := startTerminal(t, env, "send", "-")
	for _, line := range []string{"first", "second"} {
		send.write(line + "\n")
		tail.await("user1: " + line + "\r\n") // before the next is typed
	}
	send.write("\x04") // Ctrl+D
	send.drain()
	if code := send.end(); code != 0 {
		t.Errorf("send: %d, %q", code, send.seen.String())
	}
	runCommand(t, env, "\x1b[2J\x1b]0;title\a\u009b31m\ruser2: x", "send", "--whole")
	tail.await(`user1: \x1b[2J\x1b]0;title\a\u009b31m\ruser2: x`)
	tail.write("\x03")
	tail.drain()
	if code := tail.end(); code != 0 {
		t.Errorf("tail: %d, %q", code, tail.seen.String())
	}
	if strings.ContainsAny(strings.ReplaceAll(tail.seen.String(), "\r\n", ""), "\x1b\a\r\u009b") {
		t.Errorf("the terminal was sent %q", tail.seen.String())
	}
}
