//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

// readmeAddr is where the pages' server listens: simplechat's default.
const readmeAddr = "127.0.0.1:65002"

// The pages whose commands the tests run.
var (
	frontPage     = filepath.Join(repo, "README.md")
	protocolPage  = filepath.Join(repo, "chatsvc", "PROTOCOL.md")
	operatorsPage = filepath.Join(repo, "cmd", "simplechat", "README.md")
)

// TestREADMECommands runs the commands of the front page and of the protocol's. A
// comment right above a fence says what the fence is:
//
//	<!-- test: NAME -->      above ```sh: bash runs it (-e -o pipefail)
//	<!-- output: NAME -->    above ```text or ```json: what it prints on stdout
//
// NAME is lower-case letters, digits and hyphens; a test stands once, and its
// output, if any, somewhere after it. Fences without a comment are left alone.
//
// All commands run in the repository's root, in the page's order and against one
// server, so a page reads as one session, and each command sees the history of those
// before it. 127.0.0.1:65002 and localhost:65002 stand for that server; simplechat
// and the pinned buf are on the PATH.
//
// A command with "simplechat serve" is a server of its own, on a free port: it
// must say that it listens and, after Ctrl+C, that it stopped. Its output is not
// looked at.
//
// A command that calls messageList without an end runs on while those after it do,
// from its first line on, until the server ends. Its output must begin with the lines
// that the page has; any other command's must be those lines.
//
// Lines are equal if they are so after a stretch of white space counts as one
// space, and times in milliseconds (13 digits), epochs (26 characters of
// base32) and dates as equal to any other.
func TestREADMECommands(t *testing.T) {
	t.Parallel()
	for _, page := range []string{frontPage, protocolPage} {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			runPage(t, page)
		})
	}
}

// runPage runs the commands of a page against a server.
func runPage(t *testing.T, page string) {
	snippets := snippetsOf(t, page)
	if len(snippets) == 0 {
		t.Fatalf("%s has no command to run", page)
	}
	path := toolPath(t, snippets)
	p := startServer(t)
	// Clients end when the server does: none of them hangs.
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })

	var streams []*runningSnippet
	for _, s := range snippets {
		if s.isServer() {
			s.runServer(ctx, t, path)
			continue
		}
		running := s.start(ctx, t, p, path)
		if s.isStream() {
			running.awaitFirstLine(t)
			streams = append(streams, running)
			continue
		}
		if err := running.end(t); err != nil {
			t.Fatalf("%s: %v\n%s%s", s, err, running.stdout, running.stderr.Bytes())
		}
		running.check(t, p)
	}
	p.stop()
	for _, running := range streams {
		_ = running.end(t) // the server ended the stream: to some clients that is an error
		running.check(t, p)
	}
}

// readPage returns a page's text.
func readPage(tb testing.TB, page string) string {
	tb.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}

// snippetsOf returns the marked fences of a page.
func snippetsOf(tb testing.TB, page string) []*snippet {
	tb.Helper()
	snippets, err := parseSnippets(readPage(tb, page))
	if err != nil {
		tb.Fatalf("%s: %v", page, err)
	}
	for _, s := range snippets {
		s.page = page
	}
	return snippets
}

// snippet is a fence to run.
type snippet struct {
	name     string
	page     string
	line     int // of the fence in the page
	commands string
	output   []string // nil: anything
}

// String returns where the snippet stands.
func (s *snippet) String() string { return fmt.Sprintf("%s:%d: %s", s.page, s.line, s.name) }

// isStream reports whether the snippet runs until the server ends.
func (s *snippet) isStream() bool {
	return strings.Contains(s.commands, "messageList") && !strings.Contains(s.commands, "Chat-Until") && !strings.Contains(s.commands, "until=")
}

// isServer reports whether the snippet is a server.
func (s *snippet) isServer() bool { return strings.Contains(s.commands, "simplechat serve") }

// storageFlag matches a flag that says where messages are kept.
var storageFlag = regexp.MustCompile(`--(?:data|memory|nats)\b`)

// runServer runs a snippet that is a server, from its start to Ctrl+C.
func (s *snippet) runServer(ctx context.Context, tb testing.TB, path string) {
	tb.Helper()
	cmd := exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", strings.ReplaceAll(s.commands, readmeAddr, "127.0.0.1:0"))
	cmd.Dir = repo
	cmd.Env = append(os.Environ(), "PATH="+path, "SIMPLECHAT_LISTEN=127.0.0.1:0")
	if !storageFlag.MatchString(s.commands) {
		cmd.Env = append(cmd.Env, "SIMPLECHAT_DATA="+tb.TempDir()) // not in the repository
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl+C goes to all: go run does not hand it on
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	stderr, err := cmd.StderrPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	var log []string
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		log = append(log, lines.Text())
		if listening.MatchString(lines.Text()) {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGINT)
		}
	}
	err = cmd.Wait() // go run's own, which is one after Ctrl+C whatever the server's is
	if text := strings.Join(log, "\n"); !listening.MatchString(text) || !strings.Contains(text, "msg=stopped") {
		tb.Errorf("%s: %v:\n%s", s, err, text)
	}
}

var (
	marker     = regexp.MustCompile(`^<!-- (test|output): ([a-z0-9-]+) -->$`)
	markerLike = regexp.MustCompile(`(?i)^\s*<!--\s*(tests?|outputs?)\b`)
)

// parseSnippets returns the marked fences of a page.
func parseSnippets(readme string) ([]*snippet, error) {
	var snippets []*snippet
	byName := make(map[string]*snippet)
	var mark []string // of the comment right above
	var open *fence
	for i, line := range strings.Split(readme, "\n") {
		language, isFence := strings.CutPrefix(line, "```")
		switch {
		case open != nil && line == "```":
			if err := open.addTo(&snippets, byName); err != nil {
				return nil, err
			}
			open = nil
		case open != nil:
			open.lines = append(open.lines, line)
		case isFence:
			open = &fence{line: i + 1, language: language, mark: mark}
			mark = nil
		case mark != nil:
			return nil, fmt.Errorf("line %d: a fence must stand right under %s", i+1, mark[0])
		case markerLike.MatchString(line):
			if mark = marker.FindStringSubmatch(line); mark == nil {
				return nil, fmt.Errorf("line %d: %q is neither <!-- test: NAME --> nor <!-- output: NAME -->", i+1, line)
			}
		}
	}
	if open != nil || mark != nil {
		return nil, errors.New("the page ends in a fence, or before one that was announced")
	}
	return snippets, nil
}

// fence is a fenced block and the comment right above it.
type fence struct {
	line     int
	language string
	mark     []string // as marker matches; nil: none
	lines    []string
}

// addTo adds what the fence is, if it is marked.
func (f *fence) addTo(snippets *[]*snippet, byName map[string]*snippet) error {
	if f.mark == nil {
		return nil
	}
	kind, name := f.mark[1], f.mark[2]
	known := byName[name]
	switch {
	case kind == "test" && f.language != "sh", kind == "output" && f.language != "text" && f.language != "json":
		return fmt.Errorf("line %d: %s cannot stand above a fence in %q", f.line, f.mark[0], f.language)
	case kind == "test" && known != nil:
		return fmt.Errorf("line %d: the name %s is taken by line %d", f.line, name, known.line)
	case kind == "output" && (known == nil || known.output != nil):
		return fmt.Errorf("line %d: there is no test %s above, or it has an output", f.line, name)
	case kind == "output":
		known.output = f.lines
	default:
		s := &snippet{name: name, line: f.line, commands: strings.Join(f.lines, "\n")}
		*snippets = append(*snippets, s)
		byName[name] = s
	}
	return nil
}

// toolPath returns a PATH with the programs that the snippets may call.
func toolPath(tb testing.TB, snippets []*snippet) string {
	tb.Helper()
	programs := map[string]string{"simplechat": simplechat(tb)}
	for _, s := range snippets {
		if strings.Contains(s.commands, "curl ") {
			curl(tb) // or skip
		}
		if strings.Contains(s.commands, "buf ") {
			programs["buf"] = buf(tb)
		}
	}
	dir := tb.TempDir()
	for name, path := range programs {
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			tb.Fatal(err)
		}
	}
	return dir + string(filepath.ListSeparator) + os.Getenv("PATH")
}

// runningSnippet is a running snippet.
type runningSnippet struct {
	*snippet

	cmd    *exec.Cmd
	pipe   *bufio.Reader
	stdout []byte // the output so far
	stderr bytes.Buffer
}

// start runs the snippet's commands against p.
func (s *snippet) start(ctx context.Context, tb testing.TB, p *process, path string) *runningSnippet {
	tb.Helper()
	commands := strings.NewReplacer(readmeAddr, p.addr, "localhost:65002", p.addr).Replace(s.commands)
	r := &runningSnippet{snippet: s, cmd: exec.CommandContext(ctx, "bash", "-e", "-o", "pipefail", "-c", commands)}
	r.cmd.Dir = repo
	r.cmd.Env = append(os.Environ(), "PATH="+path)
	r.cmd.Stderr = &r.stderr
	r.cmd.WaitDelay = 5 * time.Second
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	r.pipe = bufio.NewReader(stdout)
	if err := r.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return r
}

// awaitFirstLine returns when the snippet has printed a line.
func (r *runningSnippet) awaitFirstLine(tb testing.TB) {
	tb.Helper()
	var err error
	if r.stdout, err = r.pipe.ReadBytes('\n'); err != nil {
		_ = r.cmd.Wait()
		tb.Fatalf("%s printed no line: %q, %v\n%s", r, r.stdout, err, r.stderr.Bytes())
	}
}

// end reads the snippet's output to the end, and returns its error.
func (r *runningSnippet) end(tb testing.TB) error {
	tb.Helper()
	rest, err := io.ReadAll(r.pipe)
	if err != nil {
		tb.Fatalf("%s: %v", r, err)
	}
	r.stdout = append(r.stdout, rest...)
	return r.cmd.Wait()
}

// check compares the snippet's output with the page.
func (r *runningSnippet) check(tb testing.TB, p *process) {
	tb.Helper()
	if r.output == nil {
		return
	}
	got := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(r.stdout), p.addr, readmeAddr), "\n"), "\n")
	for i, want := range r.output {
		if i >= len(got) {
			tb.Errorf("%s: line %d is missing: %s\nall of it:\n%s\n%s", r, i+1, want, r.stdout, r.stderr.Bytes())
			return
		}
		if canonical(got[i]) != canonical(want) {
			tb.Errorf("%s: line %d\nis     %s\nshould %s", r, i+1, got[i], want)
		}
	}
	if more := got[len(r.output):]; len(more) > 0 && !r.isStream() {
		tb.Errorf("%s: the page lacks what comes after line %d:\n%s", r, len(r.output), strings.Join(more, "\n"))
	}
}

// changing are the patterns of texts that differ from run to run, each with its
// placeholder.
var changing = []struct {
	pattern *regexp.Regexp
	as      string
}{
	{regexp.MustCompile(`\b[A-Z2-7]{26}\b`), "EPOCH"},
	{regexp.MustCompile(`\b\d{13}\b`), "MILLISECONDS"},
	{regexp.MustCompile(`\b\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)`), "DATE"},
	{regexp.MustCompile(`\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} [\d:]{8} GMT\b`), "DATE"},
}

// canonical returns a line with one text for all that count as equal.
func canonical(line string) string {
	line = strings.Join(strings.Fields(strings.ReplaceAll(line, "localhost:65002", readmeAddr)), " ")
	for _, c := range changing {
		line = c.pattern.ReplaceAllString(line, c.as)
	}
	return line
}

func TestCanonicalLines(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b  string
		equal bool
	}{
		{`{"timestamp":"1700000000000"}`, `{"timestamp":"1763862000123"}`, true},
		{`{"timestamp":"1700000000000"}`, `{"timestamp":"42"}`, false},
		{`  "from":  "user1"`, `"from": "user1"` + "\r", true},
		{`"from": "user1"`, `"from": "user2"`, false},
		{"Chat-Epoch: GBQWUI3UOKDUP5DDZCKL5Y46QX", "Chat-Epoch: ABCDEFGHIJKLMNOPQRSTUVWXYZ", true},
		{"Chat-Epoch: GBQWUI3UOKDUP5DDZCKL5Y46QX", "Chat-Epoch: GBQWUI3UOKDUP5DDZCKL5Y46Q", false},
		{"Date: Mon, 23 Nov 2026 01:51:19 GMT", "Date: Tue, 01 Jan 2030 00:00:00 GMT", true},
		{"time=2026-11-23T01:47:56.146Z", "time=2030-01-01T00:00:00+01:00", true},
		{"http://localhost:65002/", "http://127.0.0.1:65002/", true},
	} {
		if equal := canonical(tt.a) == canonical(tt.b); equal != tt.equal {
			t.Errorf("%q and %q: equal is %v", tt.a, tt.b, equal)
		}
	}
}

func TestParseSnippets(t *testing.T) {
	t.Parallel()
	got, err := parseSnippets("# Title\n```sh\nnot run\n```\n<!-- test: one -->\n```sh\ncurl \\\n  x\n```\ngives\n" +
		"<!-- output: one -->\n```json\n{}\n```\n<!-- test: two -->\n```sh\ny messageList\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[0].commands != "curl \\\n  x" || !slices.Equal(got[0].output, []string{"{}"}) || got[0].isStream() ||
		got[1].output != nil || !got[1].isStream() {
		t.Errorf("snippets %+v", got)
	}
	for name, readme := range map[string]string{
		"no fence":          "<!-- test: one -->\nx\n",
		"other language":    "<!-- test: one -->\n```go\nx\n```\n",
		"name taken":        "<!-- test: one -->\n```sh\nx\n```\n<!-- test: one -->\n```sh\nx\n```\n",
		"output of nothing": "<!-- output: one -->\n```text\nx\n```\n",
		"misspelt":          "<!-- test one -->\n```sh\nx\n```\n",
		"open":              "```sh\nx\n",
	} {
		if got, err := parseSnippets(readme); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The operators' page names every flag of serve, and no page names a flag that no
// command has: in prose, in `--flag` and in commands with "simplechat serve". Other
// programs' flags stand in one of their commands, in a fence or as in
// `curl --http2-prior-knowledge`.
func TestREADMENamesFlags(t *testing.T) {
	t.Parallel()
	inPage, _ := flagsNamed(readPage(t, operatorsPage))
	for _, flag := range serveFlags(t) {
		if !slices.Contains(inPage, flag) {
			t.Errorf("%s does not have --%s", operatorsPage, flag)
		}
	}
	known := programFlags(t)
	for _, page := range []string{frontPage, protocolPage, operatorsPage} {
		named, ofOthers := flagsNamed(readPage(t, page))
		for _, flag := range named {
			if !slices.Contains(known, flag) && !slices.Contains(ofOthers, flag) {
				t.Errorf("%s has --%s, which no command has", page, flag)
			}
		}
	}
}

// programFlags returns the names of the flags of all commands.
func programFlags(tb testing.TB) []string {
	tb.Helper()
	parser, err := kong.New(&commands{}, durationMapper())
	if err != nil {
		tb.Fatal(err)
	}
	var names []string
	err = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			names = append(names, flag.Name)
			if flag.Tag.Negatable != "" {
				names = append(names, "no-"+flag.Name)
			}
		}
		return next(nil)
	})
	if err != nil {
		tb.Fatal(err)
	}
	return names
}

var inlineCode = regexp.MustCompile("`[^`]+`")

// flagsNamed returns the flags that a page names as the server's, and those in
// other programs' commands.
func flagsNamed(readme string) (server, others []string) {
	inFence := false
	readme = strings.ReplaceAll(readme, "\\\n", " ") // a command's lines are one
	for line := range strings.Lines(readme) {
		switch {
		case strings.HasPrefix(line, "```"):
			inFence = !inFence
		case inFence && !strings.Contains(line, "simplechat serve"):
			others = appendFlags(others, line)
		case inFence:
			server = appendFlags(server, line)
		default:
			server = appendFlags(server, inlineCode.ReplaceAllStringFunc(line, func(code string) string {
				if strings.HasPrefix(code, "`--") || strings.Contains(code, "simplechat serve") {
					return code
				}
				others = appendFlags(others, code)
				return ""
			}))
		}
	}
	return server, others
}

// appendFlags appends the names of the flags in text.
func appendFlags(names []string, text string) []string {
	for _, match := range flagName.FindAllStringSubmatch(text, -1) {
		names = append(names, match[1])
	}
	return names
}

func TestFlagsNamed(t *testing.T) {
	t.Parallel()
	const readme = "With --alpha or `--beta-two N`, `simplechat serve --gamma` too,\n" +
		"not `curl --other`. <!-- test: x -->\n" +
		"```sh\ncurl --another\nsimplechat serve \\\n  --delta\n```\n| `--epsilon` |\n"
	server, others := flagsNamed(readme)
	if want := []string{"alpha", "beta-two", "gamma", "delta", "epsilon"}; !slices.Equal(server, want) {
		t.Errorf("the server's flags %q", server)
	}
	if want := []string{"other", "another"}; !slices.Equal(others, want) {
		t.Errorf("others' flags %q", others)
	}
}
