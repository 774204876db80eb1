package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/simplechat/chatsvc/chattest"
)

// terminal is a pseudo-terminal with a program on it.
type terminal struct {
	tb     testing.TB
	cmd    *exec.Cmd
	master *os.File
	seen   strings.Builder // the program's output and the terminal's echo
}

// startOnTerminal starts "simplechat users" on a terminal of its own.
func startOnTerminal(tb testing.TB, args ...string) *terminal {
	tb.Helper()
	return startTerminal(tb, nil, append([]string{"users"}, args...)...)
}

// startTerminal starts the program on a terminal of its own, with further environment
// variables.
func startTerminal(tb testing.TB, env []string, args ...string) *terminal {
	tb.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		tb.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		tb.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		tb.Fatal(err)
	}
	defer slave.Close()
	cmd := exec.CommandContext(chattest.Context(tb, patience), simplechat(tb), args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return &terminal{tb: tb, cmd: cmd, master: master}
}

// await reads until the terminal shows text.
func (t *terminal) await(text string) {
	t.tb.Helper()
	buffer := make([]byte, 256)
	for !strings.Contains(t.seen.String(), text) {
		n, err := t.master.Read(buffer)
		if err != nil {
			t.tb.Fatalf("%q is not in %q: %v", text, t.seen.String(), err)
		}
		t.seen.Write(buffer[:n])
	}
}

// awaitNoEcho returns when the program has switched the echo off: it prints the prompt
// before that.
func (t *terminal) awaitNoEcho() {
	t.tb.Helper()
	ctx := chattest.Context(t.tb, patience)
	for t.echoes() {
		if ctx.Err() != nil {
			t.tb.Fatal("the echo stays on")
		}
	}
}

// echoes reports whether the terminal shows typed characters.
func (t *terminal) echoes() bool {
	t.tb.Helper()
	state, err := unix.IoctlGetTermios(int(t.master.Fd()), unix.TCGETS)
	if err != nil {
		t.tb.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// write types text.
func (t *terminal) write(text string) {
	t.tb.Helper()
	if _, err := io.WriteString(t.master, text); err != nil {
		t.tb.Fatal(err)
	}
}

// end returns the exit code.
func (t *terminal) end() int {
	_ = t.cmd.Wait()
	return t.cmd.ProcessState.ExitCode()
}

// On a terminal the password is asked for twice, and never shown.
func TestPasswordPrompt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, again, says string
		code              int
	}{
		{"the same", "s3cr3t\n", "", 0},
		{"another", "s3cr3t!\n", "the passwords differ", 1},
		{"interrupted", "\x03", "interrupted", 1}, // Ctrl+C
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "users.json")
			term := startOnTerminal(t, "add", "--users", file, "ada")
			term.await("Password of ada: ")
			term.awaitNoEcho()
			term.write("s3cr3t\n")
			term.await("Once more: ")
			term.awaitNoEcho()
			term.write(tt.again)
			term.await(tt.says)
			if code := term.end(); code != tt.code {
				t.Errorf("exit code %d: %q", code, term.seen.String())
			}
			if !term.echoes() {
				t.Error("the echo stays off")
			}
			if strings.Contains(term.seen.String(), "s3cr3t") {
				t.Errorf("the password is shown: %q", term.seen.String())
			}
			if _, err := os.Stat(file); (err == nil) != (tt.code == 0) {
				t.Errorf("the file: %v", err)
			}
		})
	}
}
