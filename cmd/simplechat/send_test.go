package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/cmd/simplechat/internal/login"
)

// tailText returns the texts that simplechat tail prints of all that a server has.
func tailText(tb testing.TB, url string) (texts []string) {
	tb.Helper()
	got := runCommand(tb, loginAs("user2", url), "", "tail", "--from=all", "--no-follow")
	if got.code != 0 {
		tb.Fatalf("tail: %d, %s", got.code, got.stderr)
	}
	return textsOf(tb, got.stdout)
}

// textsOf returns the texts in what tail has printed.
func textsOf(tb testing.TB, lines string) (texts []string) {
	tb.Helper()
	for line := range strings.Lines(lines) {
		var message struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal([]byte(line), &message); err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		texts = append(texts, message.Text)
	}
	return texts
}

// numbers returns lines with the numbers from first to last.
func numbers(first, last int) string {
	var b []byte
	for n := first; n <= last; n++ {
		b = append(strconv.AppendInt(b, int64(n), 10), '\n')
	}
	return string(b)
}

// checkNumbers checks that texts are the numbers from 1 to last, in order.
func checkNumbers(tb testing.TB, texts []string, last int) {
	tb.Helper()
	want := strings.Fields(numbers(1, last))
	if slices.Equal(texts, want) {
		return
	}
	at := 0
	for at < min(len(texts), len(want)) && texts[at] == want[at] {
		at++
	}
	tb.Errorf("%d messages, %d were due; they differ from number %d on: %q", len(texts), last, at+1, texts[at:min(at+10, len(texts))])
}

// hangingServer returns the URL of a server that takes requests, of which it tells, and
// answers none.
func hangingServer(tb testing.TB) (url string, asked <-chan struct{}) {
	tb.Helper()
	requests := make(chan struct{}, 1)
	url = serveHTTP2(tb, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case requests <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	})
	return url, requests
}

// serveHTTP2 serves a handler over HTTP/2 without TLS.
func serveHTTP2(tb testing.TB, h http.HandlerFunc) (url string) {
	tb.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	tb.Cleanup(s.Close)
	return s.URL
}

// unreachable returns the URL of a port that nobody listens on.
func unreachable(tb testing.TB) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer listener.Close()
	return "http://" + listener.Addr().String()
}

// Each exit code, for one message and for a pipe, with one line that says what is wrong.
func TestSendExitCodes(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory", "--max-content=1KiB")
	ok, nobody := loginAs("user1", p.url("")), loginAs("user1", unreachable(t))
	hangingURL, _ := hangingServer(t)
	hanging, wrong := loginAs("user1", hangingURL), append(loginAs("user1", p.url("")), "SIMPLECHAT_PASSWORD=wr0ng")
	const short = "--timeout=3s"
	for _, tt := range []struct {
		name  string
		env   []string
		stdin string
		args  []string
		code  int
		want  string // in stderr
	}{
		{"sent", ok, "", []string{"hello", "there"}, 0, ""},
		{"a pipe", ok, "a\nb\n", nil, 0, ""},
		{"a pipe as -", ok, "a\n\r\nb", []string{"-"}, 0, ""},
		{"an empty pipe", ok, "", nil, 0, ""},
		{"refused", ok, "", []string{strings.Repeat("x", 1025)}, login.ExitRefused, "resource_exhausted"},
		{"a line refused", ok, "a\n\xff\nb\n", nil, login.ExitRefused, "line 2 was refused"},
		{"an unknown flag", ok, "", []string{"--nonsense"}, login.ExitUsage, "--nonsense"},
		{"an empty text", ok, "", []string{""}, login.ExitUsage, "the text is empty"},
		{"a text that is not UTF-8", ok, "", []string{"a\xffb"}, login.ExitUsage, "not UTF-8"},
		{"no image", ok, "", []string{"--image=/nonexistent.png"}, login.ExitUsage, "/nonexistent.png"},
		{"not an image", ok, "", []string{"--image=send_test.go"}, login.ExitUsage, "not an image"},
		{"an empty image", ok, "", []string{"--image=-"}, login.ExitUsage, "is empty"},
		{"a wrong path", []string{"SIMPLECHAT_SERVER=" + p.url("/wrong"), "SIMPLECHAT_USER=user1", "SIMPLECHAT_PASSWORD=qwerty"}, "", []string{"x"}, login.ExitRefused, "check --server"},
		{"TLS without TLS", ok, "", []string{"--server=https" + strings.TrimPrefix(p.url(""), "http"), "--timeout=5s", "x"}, login.ExitUnreachable, "begin --server with http://"},
		{"text and image", ok, "", []string{"--image=x.png", "text"}, login.ExitUsage, "--image"},
		{"a bad URL", ok, "", []string{"--server=127.0.0.1:1", "x"}, login.ExitUsage, "http://HOST:PORT"},
		{"no CA", ok, "", []string{"--ca=/nonexistent.pem", "x"}, login.ExitUsage, "/nonexistent.pem"},
		{"no credentials", []string{"SIMPLECHAT_SERVER=" + p.url("")}, "", []string{"x"}, login.ExitUsage, "SIMPLECHAT_PASSWORD_FILE"},
		{"unreachable", nobody, "", []string{"x", short}, login.ExitUnreachable, "check --server"},
		{"a pipe to nobody", nobody, "a\n", []string{short}, login.ExitUnreachable, "line 1"},
		{"wrong password", wrong, "", []string{"x"}, login.ExitUnauthenticated, "SIMPLECHAT_PASSWORD"},
		{"a pipe with a wrong password", wrong, "a\n", nil, login.ExitUnauthenticated, "line 1"},
		{"unknown", hanging, "", []string{"x", short}, login.ExitUnknown, "may have been stored"},
		{"a pipe of unknown outcome", hanging, "a\n", []string{short}, login.ExitUnknown, "may have been stored"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t, tt.env, tt.stdin, append([]string{"send"}, tt.args...)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.want) || tt.want == "" && got.stderr != "" || got.stdout != "" {
				t.Errorf("%+v, exit code %d with %q was due", got, tt.code, tt.want)
			}
		})
	}
}

func TestSendForms(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	env := loginAs("user1", p.url(""))
	image := filepath.Join(repo, "web", "screenshot.png")
	passwordFile := tempFile(t, "password", "qwerty\n")
	for _, tt := range []struct {
		env   []string
		stdin string
		args  []string
	}{
		{env, "", []string{"hello", "world"}},
		{env, "", []string{"--", "--not-a-flag"}},
		{env, "a\nb\n\nc", []string{"--whole"}},
		{env, "one\r\n\ntwo", nil},
		{env, "", []string{"--image", image}},
		{[]string{"SIMPLECHAT_PASSWORD_FILE=" + passwordFile}, "", []string{"--server=" + p.url(""), "--user=user3", "from a file"}},
	} {
		if got := runCommand(t, tt.env, tt.stdin, append([]string{"send"}, tt.args...)...); got.code != 0 {
			t.Errorf("%q: %+v", tt.args, got)
		}
	}
	dir := t.TempDir()
	got := runCommand(t, env, "", "tail", "--no-follow", "--save-images", dir)
	want := []string{"hello world", "--not-a-flag", "a\nb\n\nc", "one", "two", "", "from a file"}
	if texts := textsOf(t, got.stdout); !slices.Equal(texts, want) || !strings.Contains(got.stdout, `"from":"user3"`) {
		t.Errorf("%q, want %q", texts, want)
	}
	sent, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	if saved, err := os.ReadFile(filepath.Join(dir, "6-user1.png")); err != nil || string(saved) != string(sent) {
		t.Errorf("the image has %d bytes after the way, %d before; %v", len(saved), len(sent), err)
	}
}

// With --json each line of a pipe has an answer, in order.
func TestSendJSON(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	got := runCommand(t, loginAs("user1", p.url("")), "a\n\xff\n\nb\n", "send", "--json")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.code != login.ExitRefused || len(lines) != 3 || !strings.HasPrefix(lines[0], `{"line":1,"offset":"1","epoch":"`) ||
		!strings.HasPrefix(lines[1], `{"line":2,"code":"invalid_argument"`) || !strings.HasPrefix(lines[2], `{"line":4,"offset":"2"`) {
		t.Errorf("%+v", got)
	}
	got = runCommand(t, loginAs("user1", p.url("")), "", "send", "--json", "c")
	if !strings.HasPrefix(got.stdout, `{"offset":"3","epoch":"`) {
		t.Errorf("%+v", got)
	}
}

// A long pipe keeps its order, into a tail that reads all of it.
func TestLongPipe(t *testing.T) {
	t.Parallel()
	const lines = 100_000
	p := startServer(t, append(load.Unlimited(), "--memory")...)
	if got := runCommand(t, loginAs("user1", p.url("")), numbers(1, lines), "send"); got.code != 0 || got.stdout+got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	checkNumbers(t, tailText(t, p.url("")), lines)
}

// A limit of the server makes a pipe wait, and changes no order.
func TestPipeIsLimited(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory", "--user-sends=1000", "--user-send-burst=1000", "--trusted-proxy=127.0.0.0/8")
	proxy := &httputil.ReverseProxy{Transport: testkit.NewTransport(t, true), FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: p.addr})
		r.Out.Header.Set("X-Forwarded-For", "192.0.2.1") // loopback has no limits
	}}
	front := serveHTTP2(t, proxy.ServeHTTP)
	if got := runCommand(t, loginAs("user1", front), numbers(1, 2500), "send"); got.code != 0 || strings.Count(got.stderr, "\n") != 1 || !strings.Contains(got.stderr, "1000 messages per second") {
		t.Fatalf("%+v", got)
	}
	checkNumbers(t, tailText(t, p.url("")), 2500)
}

// An interrupt says how many lines were acknowledged.
func TestPipeIsInterrupted(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--memory")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		c := startCommand(t, loginAs("user1", p.url("")), "send", "--json")
		c.write(numbers(1, 10))
		c.stdout.awaitLines(t, 10)
		c.signal(sig)
		if got := c.result(); got.code != login.ExitInterrupted || !strings.Contains(got.stderr, "10 lines were acknowledged") {
			t.Errorf("%v: %+v", sig, got)
		}
	}
	url, asked := hangingServer(t)
	c := startCommand(t, loginAs("user1", url), "send")
	c.write("x\ny\n")
	<-asked
	c.signal(syscall.SIGINT)
	if got := c.result(); got.code != login.ExitUnknown || !strings.Contains(got.stderr, "0 lines were acknowledged, and ") {
		t.Errorf("%+v", got)
	}
}

// A client trusts the certificate that --ca names, and no other.
func TestSendOverTLS(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	other, _, _ := certificate(t)
	p := startServer(t, "--memory", "--tls-cert", cert, "--tls-key", key)
	env := loginAs("user1", "https://"+p.addr)
	if got := runCommand(t, env, "", "send", "--ca", cert, "x"); got.code != 0 {
		t.Errorf("%+v", got)
	}
	if got := runCommand(t, env, "a\nb\n", "send", "--ca", cert); got.code != 0 {
		t.Errorf("a pipe: %+v", got)
	}
	for _, args := range [][]string{{"x"}, {"x", "--ca", other}} { // nothing was sent
		got := runCommand(t, env, "", append([]string{"send", "--timeout=5s"}, args...)...)
		if got.code != login.ExitUnreachable || !strings.Contains(got.stderr, "certificate") {
			t.Errorf("%q: %+v", args, got)
		}
	}
}
