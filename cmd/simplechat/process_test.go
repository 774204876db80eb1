package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// patience is how long a test waits for what must happen. Nothing asserts that
// it happens faster.
const patience = 60 * time.Second

// pause is how long a test waits before it looks or tries again.
const pause = 20 * time.Millisecond

// repo is the repository's root, seen from the tests.
const repo = "../.."

// buildDir holds the programs that the tests build, for as long as they run.
var buildDir string

func TestMain(m *testing.M) {
	if other := os.Getenv(otherProgram); other != "" {
		if err := otherPrograms[other](); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// Variables that the developer has set would change the results.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "SIMPLECHAT_") && !slices.Contains(toolVariables, name) {
			_ = os.Unsetenv(name)
		}
	}
	if os.Getenv(testStdHTTP2) != "" {
		_ = os.Setenv(stdHTTP2Variable, "true")
	}
	// The tests read the server's log, which is no terminal's.
	if err := os.Setenv("SIMPLECHAT_LOG_FORMAT", "text"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "simplechat-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	buildDir = dir
	flag.Parse()
	// Most of the time the tests wait for programs: with one test for each processor, the
	// processors would have little to do.
	if parallel := flag.Lookup("test.parallel").Value; parallel.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = parallel.Set(strconv.Itoa(3 * runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// pebbleVariable names a pebble, Let's Encrypt's ACME server for tests, to use instead
// of building one.
const pebbleVariable = "SIMPLECHAT_PEBBLE"

// toolVariables name programs to use instead of building them.
var toolVariables = []string{bufVariable, pebbleVariable}

// otherProgram is the variable that makes the test's own program one of
// otherPrograms, for tests that need a process to look at.
const otherProgram = "TEST_PROGRAM"

var otherPrograms = map[string]func() error{}

// addProgram adds one.
func addProgram(name string, run func() error) bool {
	otherPrograms[name] = run
	return true
}

// simplechat returns the path of the program, which it builds on the first call.
func simplechat(tb testing.TB) string {
	tb.Helper()
	path, err := buildSimplechat()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

var buildSimplechat = sync.OnceValues(func() (string, error) {
	args := []string{"build", "-o", filepath.Join(buildDir, "simplechat")}
	if raceDetector() {
		args = append(args, "-race") // a race in the process makes its exit code 66
	}
	return filepath.Join(buildDir, "simplechat"), goCommand(".", append(args, ".")...)
})

// raceDetector reports whether the test itself was built with -race.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// goCommand runs the go command in dir.
func goCommand(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// process is a running server.
type process struct {
	tb   testing.TB
	cmd  *exec.Cmd
	addr string // HOST:PORT

	exited chan struct{} // closed when the process and its log have ended

	mu    sync.Mutex // guards log and grown
	log   []string   // stderr, line by line
	grown chan struct{}
}

// startServer runs "simplechat serve" on a free port of loopback, and returns
// when it listens. The process ends with the test.
func startServer(tb testing.TB, args ...string) *process {
	tb.Helper()
	return startServerEnv(tb, nil, append([]string{"--listen", "127.0.0.1:0"}, args...)...)
}

// startServerEnv is startServer with further environment variables and without
// an address of its own. The server's directory is one of the test's: its
// default --data is new and empty.
func startServerEnv(tb testing.TB, env []string, args ...string) *process {
	tb.Helper()
	cmd := exec.Command(simplechat(tb), append([]string{"serve"}, args...)...)
	cmd.Dir = tb.TempDir()
	cmd.Env = append(os.Environ(), env...)
	p := startProcess(tb, cmd, cmd.Start)
	p.awaitListening()
	return p
}

// startProcess starts a program by start, and collects its log. The process ends
// with the test.
func startProcess(tb testing.TB, cmd *exec.Cmd, start func() error) *process {
	tb.Helper()
	p := &process{tb: tb, cmd: cmd, exited: make(chan struct{}), grown: make(chan struct{})}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := start(); err != nil {
		tb.Fatal(err)
	}
	go p.readLog(stderr)
	tb.Cleanup(p.cleanup)
	return p
}

// awaitListening returns when the server listens.
func (p *process) awaitListening() {
	p.tb.Helper()
	p.addr = p.waitLog(listening)[1]
}

// listens is awaitListening; it is false if the server ended instead.
func (p *process) listens() bool {
	p.tb.Helper()
	match, ok := p.findLog(listening)
	if ok {
		p.addr = match[1]
	}
	return ok
}

// listening matches the line that the server logs when clients may come.
var listening = regexp.MustCompile(`msg"?[=:]"?listening"?[, ]"?addr"?[=:]"?([^ ",]+)`)

// readLog collects the process's log, and then its end.
func (p *process) readLog(stderr io.Reader) {
	defer close(p.exited)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.log = append(p.log, lines.Text())
		close(p.grown)
		p.grown = make(chan struct{})
		p.mu.Unlock()
	}
	_ = p.cmd.Wait() // the state is in cmd.ProcessState
}

// waitLog returns the submatches of the first log line that pattern matches.
func (p *process) waitLog(pattern *regexp.Regexp) []string {
	p.tb.Helper()
	match, ok := p.findLog(pattern)
	if !ok {
		p.tb.Fatalf("the server ended (%v) before it logged %q:\n%s", p.cmd.ProcessState, pattern, p.logText())
	}
	return match
}

// findLog is waitLog; ok is false if the process ended without such a line.
func (p *process) findLog(pattern *regexp.Regexp) (match []string, ok bool) {
	p.tb.Helper()
	deadline := time.After(patience)
	for i := 0; ; {
		p.mu.Lock()
		log, grown := p.log, p.grown
		p.mu.Unlock()
		for ; i < len(log); i++ {
			if match := pattern.FindStringSubmatch(log[i]); match != nil {
				return match, true
			}
		}
		select {
		case <-grown:
		case <-p.exited:
			if p.grownSince(i) {
				continue
			}
			return nil, false
		case <-deadline:
			p.tb.Fatalf("the server did not log %q:\n%s", pattern, p.logText())
		}
	}
}

// grownSince reports whether the log has more than n lines.
func (p *process) grownSince(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.log) > n
}

// logText returns the server's log so far.
func (p *process) logText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.log, "\n")
}

// signal sends sig to the process.
func (p *process) signal(sig syscall.Signal) {
	p.tb.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.tb.Fatalf("signal %v: %v", sig, err)
	}
}

// wait returns the exit code of the process, -1 if a signal killed it. It fails
// the test if that takes longer than limit.
func (p *process) wait(limit time.Duration) int {
	p.tb.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(limit):
		p.tb.Fatalf("the server still runs after %v:\n%s", limit, p.logText())
		return 0
	}
}

// stop ends the server in good order, and fails the test if it does not.
func (p *process) stop() {
	p.tb.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(patience); code != 0 {
		p.tb.Errorf("exit code %d:\n%s", code, p.logText())
	}
}

// cleanup ends the process and shows its log if the test failed.
func (p *process) cleanup() {
	_ = p.cmd.Process.Kill()
	<-p.exited
	if strings.Contains(p.logText(), "WARNING: DATA RACE") { // the exit code of one that was killed does not say so
		p.tb.Error("a data race")
	}
	nosecret.Check(p.tb, p.logText())
	if p.tb.Failed() {
		p.tb.Logf("log of the server:\n%s", p.logText())
	}
}

// url returns the address of path on the server.
func (p *process) url(path string) string { return "http://" + p.addr + path }

// result is how a run of the program ended.
type result struct {
	code           int
	stdout, stderr string
}

// runHere calls the program inside the test. A server ends as soon as it
// listens.
func runHere(tb testing.TB, args ...string) result {
	tb.Helper()
	ctx, cancel := context.WithCancel(chattest.Context(tb, patience))
	defer cancel()
	var stdout bytes.Buffer
	stderr := endingLog{cancel: cancel}
	code := run(ctx, args, &stdout, &stderr)
	nosecret.Check(tb, stderr.String())
	return result{code, stdout.String(), stderr.String()}
}

// endingLog calls cancel when the server logs that it listens.
type endingLog struct {
	bytes.Buffer

	cancel func()
}

// Write implements [io.Writer].
func (l *endingLog) Write(p []byte) (int, error) {
	if listening.Match(p) {
		l.cancel()
	}
	return l.Buffer.Write(p)
}

// tempFile writes a file that is gone after the test.
func tempFile(tb testing.TB, name, content string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// client returns a connect client for user over HTTP/2, on a connection of its
// own.
func (p *process) client(user string, opts ...connect.ClientOption) chatconnect.SimpleChatClient {
	p.tb.Helper()
	httpClient := &http.Client{Transport: testkit.As{User: user, Base: testkit.NewTransport(p.tb, true)}}
	return chatconnect.NewSimpleChatClient(httpClient, p.url(""), opts...)
}

// post sends a JSON body to path over HTTP/1.1 as user1, with further header
// fields, and returns the response with its body read.
func (p *process) post(path, body string, header ...string) (*http.Response, string) {
	p.tb.Helper()
	req := p.request(http.MethodPost, path, body, header...)
	req.SetBasicAuth("user1", "qwerty")
	return do(p.tb, testkit.NewTransport(p.tb, false), req)
}

// request returns a request with a JSON body and further header fields.
func (p *process) request(method, path, body string, header ...string) *http.Request {
	p.tb.Helper()
	req, err := http.NewRequestWithContext(chattest.Context(p.tb, patience), method, p.url(path), strings.NewReader(body))
	if err != nil {
		p.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// do sends a request, and returns the response with its body read.
func do(tb testing.TB, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	tb.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return res, string(body)
}

// text returns a message of the type Text.
func text(content string) *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text}
}

// image returns a message of the type Image with size bytes.
func image(size int) *chatpb.ChatMessage {
	return &chatpb.ChatMessage{Content: bytes.Repeat([]byte{0xff}, size), Type: chatpb.ChatMessage_Image}
}

// send sends messages and fails the test if the server refuses one.
func send(ctx context.Context, tb testing.TB, client chatconnect.SimpleChatClient, messages ...*chatpb.ChatMessage) {
	tb.Helper()
	for _, msg := range messages {
		if _, err := client.SendMessage(ctx, msg); err != nil {
			tb.Fatalf("send: %v", err)
		}
	}
}

// codeOf returns the connect code of err, and fails the test if there is no
// error.
func codeOf(tb testing.TB, err error) connect.Code {
	tb.Helper()
	if err == nil {
		tb.Fatal("no error where one was due")
	}
	if coded := new(connect.Error); !errors.As(err, &coded) {
		tb.Fatalf("an error without a code: %v", err)
	}
	return connect.CodeOf(err)
}

// pageSize is the size of the database's pages in bytes.
const pageSize = 8192

// flip turns a bit of a file over.
func flip(tb testing.TB, path string, at int64, bit int) {
	tb.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		tb.Fatal(err)
	}
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	b[0] ^= 1 << bit
	_, err2 := f.WriteAt(b[:], at)
	if err := errors.Join(err, err2, f.Close()); err != nil {
		tb.Fatal(err)
	}
}
