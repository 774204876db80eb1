//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
)

func diskIsFull(t *testing.T, says *promise) {
	ctx := testContext(t)
	p, ballast := startOnSmallDisk(t)
	client := p.client("user1")
	sub := subscribe(ctx, t, client)

	var taken []string
	for code := connect.Code(0); code != connect.CodeResourceExhausted; {
		content := fmt.Sprint(len(taken), strings.Repeat("x", 1<<19))
		_, err := client.SendMessage(ctx, text(content))
		if err == nil {
			taken = append(taken, content)
			continue
		}
		// What was under way when it was found out may get another answer.
		if code = codeOf(t, err); code != connect.CodeResourceExhausted && code != connect.CodeUnavailable {
			t.Fatalf("a send to a full disk: %v", err)
		}
	}
	says.isKept("Sends get `resource_exhausted`")
	awaitHealth(t, p, notServing)
	says.isKept(`health checks say "not serving"`)
	for _, other := range []*subscription{sub, subscribe(ctx, t, p.client("user2"))} {
		for i, content := range taken {
			if got := string(other.next().GetContent()); got != content {
				t.Fatalf("message %.10q where %.10q was due, the one with number %d", got, content, i)
			}
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, serving)
	send(ctx, t, client, text("there is room"))
	says.isKept("It goes on by itself when there is room.")
	if got := string(sub.next().GetContent()); got != "there is room" {
		t.Errorf("message %.10q on the stream that was open", got)
	}
	says.isKept("streams go on")
	p.stop()
}

// startOnSmallDisk starts a server whose directory is on a file system of its
// own, which goes with it, and returns the file that fills half of that.
func startOnSmallDisk(t *testing.T) (p *process, ballast string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a file system that only a process sees: %v: %s", err, out)
		}
		t.Skipf("mount a file system that only a process sees: %v: %s", err, out)
	}
	const start = `mount -t tmpfs -o size=48m tmpfs "$1" && head -c 24m /dev/zero >"$1/ballast" &&
		exec "$0" serve --listen 127.0.0.1:0 --data "$1/data"`
	cmd := exec.Command("unshare", "-rm", "sh", "-c", start, simplechat(t), dir)
	p = startProcess(t, cmd, cmd.Start)
	p.awaitListening()
	return p, filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "root", dir, "ballast")
}

func directoryIsRemoved(t *testing.T, says *promise) {
	ctx := testContext(t)
	dir := filepath.Join(t.TempDir(), "data")
	aside := dir + ".aside"
	p := startServer(t, "--data", dir)
	client := p.client("user1")
	sub := subscribe(ctx, t, client)
	send(ctx, t, client, text("before"))
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessage(ctx, text("nowhere")); codeOf(t, err) != connect.CodeUnavailable {
		t.Errorf("a send without a directory: %v", err)
	}
	says.isKept("Sends get `unavailable`")
	awaitHealth(t, p, notServing)
	says.isKept(`health checks say "not serving"`)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a directory: %v", err)
	}
	says.isKept("Nothing is made in its place")
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, serving)
	send(ctx, t, client, text("after"))
	says.isKept("It goes on by itself when the directory is put back")
	var got []string
	for last := ""; last != "after"; {
		last = string(sub.next().GetContent())
		got = append(got, last)
	}
	// What was refused may be there all the same, as after any failure.
	if got = slices.DeleteFunc(got, func(s string) bool { return s == "nowhere" }); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("on the stream that was open: %q", got)
	}
	says.isKept("streams go on")
	p.stop()
}

func filesAreDamaged(t *testing.T, says *promise) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServer(t, "--data", dir)
	for _, content := range []string{"the first", "the second", "the third"} {
		send(testContext(t), t, p.client("user1"), text(content))
	}
	was := resumeAt(t, p, place{"", 4})
	p.stop()
	block := filepath.Join(dir, "nats/jetstream/$G/streams/chat/msgs/1.blk")
	data, err := os.ReadFile(block)
	if err != nil {
		t.Fatal(err)
	}
	second, third := bytes.Index(data, []byte("the second")), bytes.Index(data, []byte("the third"))
	if second < 0 || third < 0 {
		t.Fatalf("the messages are not in %s", block)
	}

	damaged := bytes.Clone(data)
	damaged[second] ^= 1
	if err := os.WriteFile(block, damaged, 0o600); err != nil {
		t.Fatal(err)
	}
	p = startServer(t, "--data", dir)
	if got := history(t, p); !slices.Equal(got, []string{"the third"}) {
		t.Errorf("history %q", got)
	}
	p.stop()
	if log := p.logText(); !strings.Contains(log, "level=ERROR") {
		t.Errorf("the log does not say that something is damaged:\n%s", log)
	}
	says.isKept("What cannot be read is reported and never sent, nor is what was before it.")

	if err := os.WriteFile(block, data[:third], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(block), "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	p = startServer(t, "--data", dir)
	if got := resumeAt(t, p, was); got.epoch == was.epoch || got.offset != 1 {
		t.Errorf("who was at %v is sent to %v", was, got)
	}
	says.isKept("If acknowledged messages are missing at the end, the log gets another `Chat-Epoch`.")
}

func olderCopyIsPutBack(t *testing.T, says *promise) {
	data, older := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "older")
	send := func(dir, content string) place {
		p := startServer(t, "--data", dir)
		defer p.stop()
		return store(t, p, content, "")
	}
	send(data, "first")
	copyDir(t, older, data)
	newest := send(data, "second")

	untold := filepath.Join(t.TempDir(), "untold")
	copyDir(t, untold, older)
	if got := send(untold, "another"); got != newest {
		t.Errorf("the copy is told from the newest: %v after %v", got, newest)
	}
	says.isKept("It cannot be told from the newest.")

	settings, err := filepath.Glob(filepath.Join(older, "nats/jetstream/$G/streams/chat/meta.*"))
	if err != nil || len(settings) == 0 {
		t.Fatalf("%q, %v", settings, err)
	}
	for _, path := range settings {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	says.isKept("Remove `nats/jetstream/$G/streams/chat/meta.*` in it before the start")
	p := startServer(t, "--data", older)
	if got := history(t, p); !slices.Equal(got, []string{"first"}) {
		t.Errorf("history %q", got)
	}
	if got := store(t, p, "another", ""); got.epoch == newest.epoch || got.offset != 2 {
		t.Errorf("the copy goes on with %v after %v", got, newest)
	}
	says.isKept("its messages stay, and the log gets another `Chat-Epoch`.")
}

// copyDir copies a directory to where nothing is.
func copyDir(tb testing.TB, to, from string) {
	tb.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
}
