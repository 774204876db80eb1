//go:build unix

package main

import (
	"bufio"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// TestREADMELog runs the commands log-… of cmd/simplechat/README.md in their order, in an
// empty directory where a server has stored some messages. It runs until the page
// says that it must be stopped.
func TestREADMELog(t *testing.T) {
	t.Parallel()
	snippets := snippetsOf(t, operatorsPage)
	nats := startNATS(t, "")
	r := recipe{dir: t.TempDir(), path: toolPath(t, snippets), ports: strings.NewReplacer(
		"nats://127.0.0.1:4222", nats.url()+" --nats-replicas 1", // of one server, not of a cluster
		"serve --data", "serve --listen 127.0.0.1:0 --data")}
	p := startServer(t, "--data", filepath.Join(r.dir, defaultData))
	send(t.Context(), t, p.client("user1"), text("one"), text("two"), image(30_000))
	stop := sync.OnceFunc(p.stop)
	ran := 0
	for _, s := range snippets {
		if !strings.HasPrefix(s.name, "log-") {
			continue // see the other tests of the page
		}
		if strings.HasPrefix(s.name, "log-move") || strings.HasPrefix(s.name, "log-repair") {
			stop()
		}
		r.run(t, s)
		ran++
	}
	if ran != 8 {
		t.Errorf("%d commands ran", ran)
	}
	for dir, is := range map[string]string{defaultData: "3 of 1-3", "moved-back": "3 of 1-3", "restored": "3 of 1-3"} {
		got := runHere(t, "log", "check", "--data", filepath.Join(r.dir, dir))
		if got.code != 0 || !strings.Contains(got.stdout, is) {
			t.Errorf("%s: %+v", dir, got)
		}
	}
}

// TestREADMEOps runs the commands of cmd/simplechat/README.md that are about a running
// server, which has three messages.
func TestREADMEOps(t *testing.T) {
	t.Parallel()
	snippets := snippetsOf(t, operatorsPage)
	p := startServer(t, "--ops-listen=127.0.0.1:0")
	send(t.Context(), t, p.client("user1"), text("one"), text("two"), text("three"))
	r := recipe{dir: t.TempDir(), path: toolPath(t, snippets), ports: strings.NewReplacer(
		"http://127.0.0.1:65010", p.ops(), "serve --memory", "serve --listen 127.0.0.1:0 --memory")}
	ran := 0
	for _, s := range snippets {
		if !strings.HasPrefix(s.name, "ops-") {
			continue
		}
		ran++
		if s.output == nil {
			r.run(t, s)
			continue
		}
		got, err := r.command(t, s, "").Output()
		if want := strings.Join(s.output, "\n") + "\n"; err != nil || string(got) != want {
			t.Errorf("%s: %v: %q, the page has %q", s, err, got, want)
		}
	}
	if ran != 4 {
		t.Errorf("%d commands ran", ran)
	}
}

// run runs a snippet; a server in it gets Ctrl+C when it listens.
func (r recipe) run(tb testing.TB, s *snippet) {
	tb.Helper()
	cmd := r.command(tb, s, "")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var log strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		log.WriteString(lines.Text() + "\n")
		if listening.MatchString(lines.Text()) {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		}
	}
	if err := cmd.Wait(); err != nil && (!s.isServer() || !strings.Contains(log.String(), "msg=stopped")) {
		tb.Fatalf("%s: %v\n%s", s, err, log.String())
	}
}
