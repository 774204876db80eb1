package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/nosecret"
)

// command is a run of a client command of the program: send, tail.
type command struct {
	tb             testing.TB
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *output
	exited         chan struct{} // closed when the process has ended
}

// loginAs returns the environment of a client of the server at url.
func loginAs(user, url string) []string {
	return []string{"SIMPLECHAT_SERVER=" + url, "SIMPLECHAT_USER=" + user, "SIMPLECHAT_PASSWORD=qwerty"}
}

// startCommand starts the program without a terminal, with further environment
// variables. It ends with the test.
func startCommand(tb testing.TB, env []string, args ...string) *command {
	tb.Helper()
	c := &command{tb: tb, cmd: exec.Command(simplechat(tb), args...), stdout: newOutput(), stderr: newOutput(), exited: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	c.cmd.Stdout, c.cmd.Stderr = c.stdout, c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // the test's terminal is not its own
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		defer close(c.exited)
		_ = c.cmd.Wait() // the state is in cmd.ProcessState
	}()
	tb.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		<-c.exited
		nosecret.Check(tb, c.stderr.String())
		if strings.Contains(c.stderr.String(), "WARNING: DATA RACE") {
			tb.Error("a data race")
		}
		if tb.Failed() {
			tb.Logf("%q: standard error:\n%s", args, c.stderr.String())
		}
	})
	return c
}

// write writes to standard input.
func (c *command) write(text string) {
	c.tb.Helper()
	if _, err := io.WriteString(c.stdin, text); err != nil {
		c.tb.Errorf("write to standard input: %v", err)
	}
}

// signal sends a signal.
func (c *command) signal(sig syscall.Signal) {
	c.tb.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.tb.Fatal(err)
	}
}

// end closes standard input and returns how the command ends.
func (c *command) end() result {
	c.tb.Helper()
	_ = c.stdin.Close()
	return c.result()
}

// result returns how the command ends.
func (c *command) result() result {
	c.tb.Helper()
	select {
	case <-c.exited:
	case <-time.After(2 * patience):
		c.tb.Fatalf("%q still runs: %s", c.cmd.Args, c.stderr.String())
	}
	return result{c.cmd.ProcessState.ExitCode(), c.stdout.String(), c.stderr.String()}
}

// runCommand runs the program to its end, with a text on standard input.
func runCommand(tb testing.TB, env []string, stdin string, args ...string) result {
	tb.Helper()
	c := startCommand(tb, env, args...)
	_, _ = io.WriteString(c.stdin, stdin) // it may have ended
	return c.end()
}

// output collects the output of a process. It is safe for concurrent use.
type output struct {
	mu    sync.Mutex // guards all below
	text  bytes.Buffer
	lines int
	grown chan struct{}
}

func newOutput() *output { return &output{grown: make(chan struct{})} }

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines += bytes.Count(p, []byte("\n"))
	close(o.grown)
	o.grown = make(chan struct{})
	return o.text.Write(p)
}

// String returns the output so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// awaitLines returns when there are n lines.
func (o *output) awaitLines(tb testing.TB, n int) {
	tb.Helper()
	o.await(tb, func() bool { return o.lines >= n })
}

// awaitText returns when a text was printed.
func (o *output) awaitText(tb testing.TB, text string) {
	tb.Helper()
	o.await(tb, func() bool { return bytes.Contains(o.text.Bytes(), []byte(text)) })
}

// await returns when is reports true; it is called with mu locked.
func (o *output) await(tb testing.TB, is func() bool) {
	tb.Helper()
	deadline := time.After(2 * patience)
	for {
		o.mu.Lock()
		done, grown, lines := is(), o.grown, o.lines
		o.mu.Unlock()
		if done {
			return
		}
		select {
		case <-grown:
		case <-deadline:
			tb.Fatalf("there are only %d lines: %.2000s", lines, o.String())
		}
	}
}
