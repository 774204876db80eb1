//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/login"
	"example.com/simplechat/cmd/simplechat/internal/proxy"
)

func TestTailExitCodes(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	ok := loginAs("user1", p.url(""))
	hanging, _ := hangingServer(t)
	noState := tempFile(t, "state", "no position")
	for _, tt := range []struct {
		name string
		env  []string
		args []string
		code int
		want string // in stderr
	}{
		{"nothing there", ok, []string{"--no-follow"}, 0, ""},
		{"a bad position", ok, []string{"--from=x"}, login.ExitUsage, "--from"},
		{"two positions", ok, []string{"--from=1", "-n1"}, login.ExitUsage, "--from"},
		{"exec and JSON", ok, []string{"--exec=true", "--json"}, login.ExitUsage, "--exec"},
		{"a file for images", ok, []string{"--save-images=tail_test.go"}, login.ExitRefused, "--save-images"},
		{"no directory for a state", ok, []string{"--state=/nonexistent/state"}, login.ExitRefused, "/nonexistent/state"},
		{"a state that is none", ok, []string{"--state=" + noState}, login.ExitRefused, "does not hold a position"},
		{"unreachable", loginAs("user1", unreachable(t)), []string{"--timeout=1s"}, login.ExitUnreachable, "check --server"},
		{"silent", loginAs("user1", hanging), []string{"--timeout=3s", "--no-follow"}, login.ExitUnreachable, "check --server"},
		{"wrong password", append(ok, "SIMPLECHAT_PASSWORD=wr0ng"), nil, login.ExitUnauthenticated, "SIMPLECHAT_PASSWORD"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t, tt.env, "", append([]string{"tail"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) || tt.want == "" && got.stderr != "" || got.stdout != "" {
				t.Errorf("%+v, exit code %d with %q was due", got, tt.code, tt.want)
			}
		})
	}
}

func TestTailPositions(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env := loginAs("user1", p.url(""))
	runCommand(t, env, numbers(1, 20), "send")
	for _, tt := range []struct {
		args     []string
		from, to int
	}{
		{nil, 11, 20},
		{[]string{"-n", "3"}, 18, 20},
		{[]string{"-n0"}, 1, 0},
		{[]string{"--from=19"}, 19, 20},
		{[]string{"--from=all"}, 1, 20},
		{[]string{"--from=end"}, 1, 0},
	} {
		got := runCommand(t, env, "", append([]string{"tail", "--no-follow"}, tt.args...)...)
		if want := strings.Fields(numbers(tt.from, tt.to)); got.code != 0 || !slices.Equal(textsOf(t, got.stdout), want) {
			t.Errorf("%q: %+v", tt.args, got)
		}
	}
	text := runCommand(t, append(env, "TZ=UTC"), "", "tail", "--no-follow", "-n1", "--no-json")
	if !strings.HasSuffix(text.stdout, " user1: 20\n") {
		t.Errorf("%+v", text)
	}
	// A reader that has enough ends tail without a word, as it does with other programs.
	if got := execute(t, "sh", "-c", strings.Join(append(slices.Clone(env), simplechat(t)), " ")+" tail --from=all 2>&1 | head -1"); !strings.Contains(got, `"text":"1"`) || strings.Count(got, "\n") > 1 {
		t.Errorf("%q", got)
	}
}

// Messages that tail has printed before it was stopped are not printed again, and the
// others are. A kill can only repeat messages.
func TestTailState(t *testing.T) {
	t.Parallel()
	p := startServer(t, append(load.Unlimited(), "--memory")...)
	env, state := loginAs("user1", p.url("")), filepath.Join(t.TempDir(), "state")
	start := func() *command { return startCommand(t, env, "tail", "--from=all", "--state", state) }
	var texts []string
	sent := 0
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGINT} {
		c := start()
		runCommand(t, env, numbers(sent+1, sent+3000), "send")
		sent += 3000
		c.stdout.awaitLines(t, 100) // and anything up to all
		c.signal(sig)
		got := c.result()
		if got.code != 0 {
			t.Errorf("%v: %+v", sig, got)
		}
		texts = append(texts, textsOf(t, got.stdout)...)
	}
	got := runCommand(t, env, "", "tail", "--state", state, "--no-follow")
	texts = append(texts, textsOf(t, got.stdout)...)
	checkNumbers(t, texts, sent)
	if again := runCommand(t, env, "", "tail", "--state", state, "--no-follow"); again.code != 0 || again.stdout+again.stderr != "" {
		t.Errorf("nothing is new: %+v", again)
	}

	c := start()
	c.stdout.awaitLines(t, 0)
	runCommand(t, env, numbers(sent+1, sent+3000), "send")
	c.stdout.awaitLines(t, 100)
	if second := runCommand(t, env, "", "tail", "--state", state); second.code != login.ExitRefused || !strings.Contains(second.stderr, "another simplechat tail") {
		t.Errorf("a second tail: %+v", second)
	}
	c.signal(syscall.SIGKILL)
	killed := wholeLines(c.result().stdout)
	got = runCommand(t, env, "", "tail", "--state", state, "--no-follow")
	checkNoGap(t, append(textsOf(t, killed), textsOf(t, got.stdout)...), sent+1, sent+3000)
}

// wholeLines returns text up to its last end of a line.
func wholeLines(text string) string { return text[:strings.LastIndexByte(text, '\n')+1] }

// checkNoGap checks that texts are the numbers from first to last, some of them again.
func checkNoGap(tb testing.TB, texts []string, first, last int) {
	tb.Helper()
	next := first
	for _, text := range texts {
		n, err := strconv.Atoi(text)
		if err != nil || n > next {
			tb.Fatalf("%q came, %d was due", text, next)
		}
		next = max(next, n+1)
	}
	if next != last+1 {
		tb.Errorf("%d did not come", next)
	}
}

// A state of another epoch is reported, and all of the new one follows.
func TestTailNewEpoch(t *testing.T) {
	t.Parallel()
	s := &chatServer{tb: t, args: []string{"--memory"}, front: proxy.New(t, "")}
	s.start()
	env, state := loginAs("user1", s.front.URL()), filepath.Join(t.TempDir(), "state")
	runCommand(t, env, "1\n2\n", "send")
	c := startCommand(t, env, "tail", "--from=all", "--state", state)
	c.stdout.awaitLines(t, 2)
	s.restart() // an empty log
	runCommand(t, env, "a\nb\n", "send")
	c.stdout.awaitLines(t, 4)
	c.signal(syscall.SIGTERM)
	if got := c.result(); got.code != 0 || !slices.Equal(textsOf(t, got.stdout), []string{"1", "2", "a", "b"}) || !strings.Contains(got.stderr, "the log has a new epoch") {
		t.Errorf("%+v", got)
	}
	stored, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, []byte("9"+string(stored)), 0o600); err != nil { // NUMBER@EPOCH
		t.Fatal(err)
	}
	got := runCommand(t, env, "", "tail", "--no-follow", "--state", state)
	if got.code != 0 || !slices.Equal(textsOf(t, got.stdout), []string{"a", "b"}) || !strings.Contains(got.stderr, "the log went back") {
		t.Errorf("a position beyond the end: %+v", got)
	}
	s.restart()
	runCommand(t, env, "c\n", "send")
	got = runCommand(t, env, "", "tail", "--no-follow", "--state", state)
	if got.code != 0 || !slices.Equal(textsOf(t, got.stdout), []string{"c"}) || !strings.Contains(got.stderr, "the log has a new epoch") {
		t.Errorf("%+v", got)
	}
}

// A command gets each message; one that fails ends tail before its message.
func TestTailExec(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env, dir := loginAs("user1", p.url("")), t.TempDir()
	state, flag := filepath.Join(dir, "state"), filepath.Join(dir, "fail")
	runCommand(t, env, "one\n$(touch x)\nthree\n", "send")
	command := `test "$CHAT_OFFSET" != 3 || ! test -e ` + flag + ` || exit 7; echo "$CHAT_OFFSET $CHAT_FROM $CHAT_TYPE ${CHAT_EPOCH:+epoch} ${CHAT_TIMESTAMP:+time}: $(cat)"`
	run := func() result {
		return runCommand(t, env, "", "tail", "--from=all", "--no-follow", "--state", state, "--exec", command)
	}
	if err := os.WriteFile(flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := run()
	if got.code != 1 || got.stdout != "1 user1 Text epoch time: one\n2 user1 Text epoch time: $(touch x)\n" ||
		!strings.Contains(got.stderr, "message 3") || !strings.Contains(got.stderr, "exit status 7") {
		t.Errorf("%+v", got)
	}
	if err := os.Remove(flag); err != nil {
		t.Fatal(err)
	}
	if got := run(); got.code != 0 || got.stdout != "3 user1 Text epoch time: three\n" {
		t.Errorf("%+v", got)
	}
}

// An interrupt waits for the command, and its message does not come again.
func TestTailExecIsInterrupted(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env, state := loginAs("user1", p.url("")), filepath.Join(t.TempDir(), "state")
	gate := filepath.Join(t.TempDir(), "gate")
	runCommand(t, env, "one\ntwo\n", "send")
	c := startCommand(t, env, "tail", "--from=all", "--state", state, "--exec", "echo begin $CHAT_OFFSET; until test -e "+gate+"; do sleep 0.02; done; echo end")
	c.stdout.awaitText(t, "begin 1\n")
	if err := syscall.Kill(-c.cmd.Process.Pid, syscall.SIGINT); err != nil { // as Ctrl+C does
		t.Fatal(err)
	}
	c.stderr.awaitText(t, "ending after the command for message 1")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := c.result(); got.code != 0 || got.stdout != "begin 1\nend\n" {
		t.Errorf("%+v", got)
	}
	got := runCommand(t, env, "", "tail", "--no-follow", "--state", state)
	if texts := textsOf(t, got.stdout); !slices.Equal(texts, []string{"two"}) {
		t.Errorf("%q comes again", texts)
	}
}

// Escape sequences of all kinds arrive at a terminal as text, and in JSON as they were.
func TestTailEscapes(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env := loginAs("user1", p.url(""))
	evil := "a\x1b[2J\x1b]0;title\x07\x1bP+q\x1b\\\u009b31m\u202eb\x08\x7f\r\nuser2: c\x0e"
	if got := runCommand(t, env, evil, "send", "--whole"); got.code != 0 {
		t.Fatalf("%+v", got)
	}
	text := runCommand(t, env, "", "tail", "--no-follow", "--no-json")
	for _, r := range text.stdout {
		if r < ' ' && r != '\n' || r >= 0x7f && r < 0xa0 || r == 0x202e {
			t.Errorf("%q holds %q", text.stdout, r)
		}
	}
	if strings.Contains(text.stdout, "\nuser2") {
		t.Errorf("a line looks like a message: %q", text.stdout)
	}
	got := runCommand(t, env, "", "tail", "--no-follow", "--json")
	var line struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal([]byte(got.stdout), &line); err != nil || line.Text != evil {
		t.Errorf("%q, %v", got.stdout, err)
	}
}

// Neither a kill nor a restart of the server makes a pipe lose, repeat or swap a line,
// nor a tail that watches.
func TestSendAndTailOverRestarts(t *testing.T) {
	t.Parallel()
	s := &chatServer{tb: t, args: append(load.Unlimited(), "--data", t.TempDir()), front: proxy.New(t, "")}
	s.start()
	throughRestarts(t, s.front.URL(), 4, func(round int) {
		if round%2 == 0 {
			s.kill()
			s.start()
		} else {
			s.restart()
		}
	})
}

// The same with three servers that are restarted one after the other.
func TestSendAndTailOverRollingRestart(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	var urls []string
	for _, s := range c.servers {
		s.args = append(s.args, "--drain-delay=100ms", "--drain-spread=100ms")
		urls = append(urls, s.front.URL())
	}
	throughRestarts(t, strings.Join(urls, ","), len(c.servers), func(round int) { c.servers[round].restart() })
}

// throughRestarts sends a long pipe and watches it with a tail that is also ended and
// continued, while the servers restart.
func throughRestarts(t *testing.T, urls string, rounds int, restart func(round int)) {
	t.Helper()
	const perRound = 3000
	env, state := loginAs("user1", urls), filepath.Join(t.TempDir(), "state")
	start := func() *command { return startCommand(t, env, "tail", "--from=all", "--state", state) }
	send, watch := startCommand(t, env, "send", "--timeout=2m"), start()
	var texts []string
	for round := range rounds {
		send.write(numbers(round*perRound+1, (round+1)*perRound))
		watch.stdout.awaitLines(t, 100)
		restart(round)
		watch.signal(syscall.SIGTERM)
		got := watch.result()
		if got.code != 0 {
			t.Errorf("tail: %+v", got.code)
		}
		texts = append(texts, textsOf(t, got.stdout)...)
		watch = start()
	}
	if got := send.end(); got.code != 0 {
		t.Errorf("send: %d, %s", got.code, got.stderr)
	}
	watch.stdout.awaitLines(t, rounds*perRound-len(texts))
	watch.signal(syscall.SIGTERM)
	texts = append(texts, textsOf(t, watch.result().stdout)...)
	checkNumbers(t, texts, rounds*perRound)
	checkNumbers(t, tailText(t, urls), rounds*perRound)
}
