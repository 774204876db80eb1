//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chattest"
)

// TestREADMECluster runs the operators' recipe for more than one machine, in an empty
// directory and on free ports: three NATS servers, two of ours, and what was
// sent to one is read from the other. Then a NATS server is killed, and the
// conversation continues.
func TestREADMECluster(t *testing.T) {
	t.Parallel()
	snippets := snippetsOf(t, operatorsPage)
	path := toolPath(t, snippets)
	binary, err := buildNATS()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binary, filepath.Join(strings.Split(path, string(filepath.ListSeparator))[0], "nats-server")); err != nil {
		t.Fatal(err)
	}
	r := recipe{dir: t.TempDir(), path: path, ports: otherPorts(t, "65002", "65003", "4222", "4223", "4224", "6222", "6223", "6224")}
	byName := make(map[string]*snippet)
	for _, s := range snippets {
		byName[s.name] = s
	}
	nats := r.background(t, byName["cluster-nats"])
	nats.await(t, regexp.MustCompile(`JetStream cluster new metadata leader|Self is new JetStream cluster metadata leader`), 1)
	servers := r.background(t, byName["cluster-serve"])
	servers.await(t, listening, 2)
	r.try(t, byName["cluster-try"], 1)

	killFirst(t, filepath.Join(r.dir, "cluster-nats.pids"))
	r.try(t, byName["cluster-try"], 2)
}

// recipe is where a page's recipe runs.
type recipe struct {
	dir, path string
	ports     *strings.Replacer
}

// otherPorts returns what replaces ports of a page by free ones.
func otherPorts(tb testing.TB, ports ...string) *strings.Replacer {
	tb.Helper()
	var pairs []string
	for i, free := range chattest.FreePorts(tb, len(ports)) {
		pairs = append(pairs, ":"+ports[i], ":"+free, "-p "+ports[i], "-p "+free)
	}
	return strings.NewReplacer(pairs...)
}

// command returns a snippet as a process group of its own.
func (r recipe) command(tb testing.TB, s *snippet, then string) *exec.Cmd {
	tb.Helper()
	if s == nil {
		tb.Fatal("the page lacks a part of the recipe")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", r.ports.Replace(s.commands)+then)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+r.path)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	tb.Cleanup(cancel)
	return cmd
}

// group is the processes that a snippet has started, with their logs.
type group struct {
	cmd *exec.Cmd
	log *bufio.Scanner

	seen bytes.Buffer
}

// background runs a snippet until the test ends.
func (r recipe) background(tb testing.TB, s *snippet) *group {
	tb.Helper()
	cmd := r.command(tb, s, "\njobs -p >"+s.name+".pids\nwait")
	out, in, err := os.Pipe()
	if err != nil {
		tb.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = in, in
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	_ = in.Close()
	tb.Cleanup(func() {
		_ = cmd.Cancel()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
		_ = out.Close()
	})
	return &group{cmd: cmd, log: bufio.NewScanner(out)}
}

// killFirst kills the first process whose number is in a file.
func killFirst(tb testing.TB, file string) {
	tb.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(string(data))[0])
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err != nil {
		tb.Fatalf("kill %q: %v", data, err)
	}
}

// await returns when as many lines of the log match.
func (g *group) await(tb testing.TB, pattern *regexp.Regexp, lines int) {
	tb.Helper()
	timer := time.AfterFunc(patience, func() { _ = g.cmd.Cancel() }) // the log ends with it
	defer timer.Stop()
	for lines > 0 && g.log.Scan() {
		fmt.Fprintln(&g.seen, g.log.Text())
		if pattern.Match(g.log.Bytes()) {
			lines--
		}
	}
	if lines > 0 {
		tb.Fatalf("%d lines that match %v are missing:\n%s", lines, pattern, g.seen.Bytes())
	}
	go func() { // the log must not fill the pipe
		for g.log.Scan() {
		}
	}()
}

// try runs the snippet that sends and reads until it has read as many messages.
func (r recipe) try(tb testing.TB, s *snippet, messages int) {
	tb.Helper()
	ctx := chattest.Context(tb, patience)
	for {
		if r.tryOnce(ctx, tb, s, messages) {
			return
		}
		if ctx.Err() != nil {
			tb.Fatalf("%s: %d messages did not come", s, messages)
		}
	}
}

// tryOnce reports whether that many messages came; a send may be refused.
func (r recipe) tryOnce(ctx context.Context, tb testing.TB, s *snippet, messages int) bool {
	tb.Helper()
	cmd := r.command(tb, s, "")
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Cancel() })
	defer stop()
	defer func() {
		_ = cmd.Cancel()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if messages -= strings.Count(lines.Text(), "aGVsbG8="); messages <= 0 {
			return true
		}
		if strings.Contains(lines.Text(), `"code":"unavailable"`) {
			return false
		}
	}
	return false
}
