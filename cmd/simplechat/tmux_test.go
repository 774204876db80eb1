//go:build unix

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tmux is a terminal with a shell in it, that can be looked at. Debian's package tmux has
// the program.
type tmux struct {
	tb     testing.TB
	path   string
	socket string
	pid    string // the file with the process that the shell started
}

// newTmux starts a terminal with a shell, whose processes have an environment.
func newTmux(tb testing.TB, width, height int, env ...string) *tmux {
	tb.Helper()
	dir, err := os.MkdirTemp("", "tmux-") // the path of a socket must be short
	if err != nil {
		tb.Fatal(err)
	}
	tm := &tmux{tb: tb, path: installed(tb, "tmux"), socket: filepath.Join(dir, "s"), pid: filepath.Join(dir, "pid")}
	tb.Cleanup(func() {
		if tb.Failed() {
			out, _ := tm.command("capture-pane", "-p").CombinedOutput()
			tb.Logf("the screen:\n%s", out)
		}
		_ = tm.command("kill-server").Run()
		_ = os.RemoveAll(dir)
	})
	start := tm.command("-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height), "PS1='$ ' exec sh")
	start.Env = append(os.Environ(), "TMUX=", "NO_COLOR=", "LC_ALL=C.UTF-8", "TZ=UTC", "ENV=", "SIMPLECHAT_LOG_FORMAT=")
	start.Env = append(start.Env, env...)
	if out, err := start.CombinedOutput(); err != nil {
		tb.Fatalf("tmux: %v: %s", err, out)
	}
	tm.run("set", "-g", "focus-events", "on")
	tm.await("$") // the spaces at the end of a line are not in what tmux shows
	return tm
}

func (tm *tmux) command(args ...string) *exec.Cmd {
	return exec.CommandContext(context.WithoutCancel(tm.tb.Context()), tm.path, append([]string{"-u", "-S", tm.socket}, args...)...)
}

// run runs a command of tmux, and returns its output.
func (tm *tmux) run(args ...string) string {
	tm.tb.Helper()
	out, err := tm.command(args...).CombinedOutput()
	if err != nil {
		tm.tb.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// start types a command into the shell: its process can be signalled, and its exit code is
// shown when it ends.
func (tm *tmux) start(args ...string) {
	tm.tb.Helper()
	tm.enter(`stty -g >` + tm.pid + `.stty; sh -c 'echo $$ >` + tm.pid + `; exec "$@"' - ` + strings.Join(args, " ") +
		`; echo "exit code $?."; stty -g | cmp - ` + tm.pid + `.stty && echo sam''e`)
}

// signal sends a signal to the process.
func (tm *tmux) signal(sig syscall.Signal) {
	tm.tb.Helper()
	text, err := os.ReadFile(tm.pid)
	if err != nil {
		tm.tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		tm.tb.Fatal(err)
	}
	if err := syscall.Kill(pid, sig); err != nil {
		tm.tb.Fatal(err)
	}
}

// press presses keys, named as tmux does.
func (tm *tmux) press(names ...string) {
	tm.tb.Helper()
	tm.run(append([]string{"send-keys"}, names...)...)
}

// enter types a text and presses Enter.
func (tm *tmux) enter(text string) {
	tm.tb.Helper()
	tm.run("send-keys", "-l", text)
	tm.press("Enter")
}

// paste pastes a text as terminals do, if the program has asked for that.
func (tm *tmux) paste(text string) {
	tm.tb.Helper()
	load := tm.command("load-buffer", "-")
	load.Stdin = strings.NewReader(text)
	if out, err := load.CombinedOutput(); err != nil {
		tm.tb.Fatalf("tmux load-buffer: %v: %s", err, out)
	}
	tm.run("paste-buffer", "-p")
}

// resize changes the terminal's size.
func (tm *tmux) resize(width, height int) {
	tm.tb.Helper()
	tm.run("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// screen returns the text on the screen.
func (tm *tmux) screen() string { return tm.run("capture-pane", "-p") }

// await returns the screen when it shows all of the texts.
func (tm *tmux) await(texts ...string) string {
	tm.tb.Helper()
	return tm.until(strings.Join(texts, ", "), func(screen string) bool {
		for _, text := range texts {
			if !strings.Contains(screen, text) {
				return false
			}
		}
		return true
	})
}

// until returns the screen when a condition holds.
func (tm *tmux) until(what string, holds func(screen string) bool) string {
	tm.tb.Helper()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-again.C {
		if screen := tm.screen(); holds(screen) {
			return screen
		}
	}
	tm.tb.Fatalf("not on the screen: %s", what)
	return ""
}

// awaitRestored returns when the program has ended with a code, and fails the test if the
// terminal is not as it was.
func (tm *tmux) awaitRestored(code int) {
	tm.tb.Helper()
	tm.await("exit code " + strconv.Itoa(code) + ".")
	const modes = "alternate_on mouse_any_flag keypad_cursor_flag insert_flag"
	format := "#{" + strings.ReplaceAll(modes, " ", "} #{") + "} cursor #{cursor_flag}"
	if got := strings.TrimSpace(tm.run("display-message", "-p", format)); got != "0 0 0 0 cursor 1" {
		tm.tb.Errorf("%s: %s", modes, got)
	}
	tm.await("\nsame\n")
}
