package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
)

// The commands that people use with curl alone, over HTTP/1.1 and HTTP/2.
func TestCurlPlainForms(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"http1", []string{"--http1.1"}},
		{"http2", []string{"--http2-prior-knowledge"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startServer(t)
			run := func(args ...string) string {
				return execute(t, curl, append(append([]string{"-sS", "-u", "user1:qwerty"}, tt.args...), args...)...)
			}
			image, lines := filepath.Join(t.TempDir(), "a.png"), filepath.Join(t.TempDir(), "lines")
			if err := os.WriteFile(image, []byte("\x89PNG\r\n\x1a\n"+strings.Repeat("\x00\r\n", (1<<20-8)/3)), 0o600); err != nil {
				t.Fatal(err)
			}
			many := strings.Repeat(`{"content":"aGk=","type":"Text"}`+"\n", 20_000)
			if err := os.WriteFile(lines, []byte(many), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, call := range []struct {
				args []string
				want string
			}{
				{[]string{"-d", "hello", p.url(sendPath)}, `{"offset":"1","type":"Text"}` + "\n"},
				{[]string{"-H", "Content-Type: text/plain", "--data-binary", "two\nlines", p.url(sendPath)}, `{"offset":"2","type":"Text"}` + "\n"},
				{[]string{"-H", "Content-Type: image/png", "--data-binary", "@" + image, p.url(sendPath)}, `{"offset":"3","type":"Image"}` + "\n"},
			} {
				if got := run(call.args...); got != call.want {
					t.Errorf("%v: %q", call.args, got)
				}
			}
			got := run("-H", "Accept: text/plain", p.url(listPath)+"?until=end")
			for i, want := range []string{" user1: hello\n", ` user1: two\nlines` + "\n", " user1: [image, 1.0 MiB]\n"} {
				if line := strings.SplitAfter(got, "\n")[i]; !strings.HasSuffix(line, want) {
					t.Errorf("line %q", line)
				}
			}
			for _, args := range [][]string{{"-T", lines}, {"--data-binary", "@" + lines}, {"-T", lines, "-H", "Transfer-Encoding: chunked"}} {
				if tt.name == "http2" && len(args) == 4 {
					continue
				}
				answers := run(append(args, "-X", "POST", "-H", "Content-Type: application/x-ndjson", p.url(sendPath))...)
				if n := strings.Count(answers, `{"offset":"`); n != 20_000 || strings.Count(answers, "\n") != n {
					t.Errorf("%v: %d lines were answered with %d offsets: %.300q", args, 20_000, n, answers)
				}
			}
		})
	}
}

// Curl tells a stream that was cut from one that is complete.
func TestCurlFailsWhenTheServerEndsAStream(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	for _, version := range []string{"--http1.1", "--http2-prior-knowledge"} {
		for _, accept := range []string{"application/x-ndjson", "text/event-stream", "text/plain"} {
			t.Run(version+" "+accept, func(t *testing.T) {
				t.Parallel()
				p := startServer(t)
				execute(t, curl, "-sS", "-u", "user1:qwerty", "-d", "hello", p.url(sendPath))
				cmd := exec.CommandContext(chattest.Context(t, patience), curl, "-sSN", version, "-u", "user1:qwerty", "-H", "Accept: "+accept, p.url(listPath))
				out := &firstWrite{written: make(chan struct{})}
				cmd.Stdout = out
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				<-out.written
				p.stop()
				if err := cmd.Wait(); err == nil || !strings.Contains(out.text.String(), "unavailable") {
					t.Errorf("%v: %q", err, out.text.String())
				}
			})
		}
	}
}

// firstWrite tells when something was written.
type firstWrite struct {
	text    strings.Builder
	written chan struct{}
}

// Write implements [io.Writer].
func (w *firstWrite) Write(p []byte) (int, error) {
	if w.text.Len() == 0 {
		close(w.written)
	}
	return w.text.Write(p)
}

// Pages of listed origins may call in every form, as may the server's own page behind a
// trusted proxy; those of other sites may not.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--cors-origin", "https://*.friend.example", "--trusted-proxy", "127.0.0.1/32")
	anyone := startServer(t, "--cors-origin", "*")
	direct := startServer(t)
	tests := []struct {
		name   string
		server *process
		method string
		header []string
		want   int
	}{
		{"listed", p, "POST", []string{"Origin", "https://a.friend.example", "Sec-Fetch-Site", "cross-site"}, 200},
		{"listed, GET", p, "GET", []string{"Origin", "https://a.friend.example", "Sec-Fetch-Site", "cross-site"}, 200},
		{"stranger", p, "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 403},
		{"stranger's image", p, "GET", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"own page behind a proxy", p, "POST", []string{"Origin", "https://chat.example", "X-Forwarded-Host", "chat.example"}, 200},
		{"stranger behind a proxy", p, "POST", []string{"Origin", "https://evil.example", "X-Forwarded-Host", "chat.example"}, 403},
		{"stranger says where it is", p, "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "X-Forwarded-Host", "evil.example"}, 403},
		{"proxy that is not trusted", direct, "POST", []string{"Origin", "https://chat.example", "X-Forwarded-Host", "chat.example"}, 403},
		{"own page", direct, "POST", []string{"Origin", "https://elsewhere.example", "Sec-Fetch-Site", "same-origin"}, 200},
		{"all", anyone, "POST", []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"}, 200},
		{"all, GET", anyone, "GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
	}
	for _, test := range tests {
		path, body := sendPath, "hi"
		if test.method == http.MethodGet {
			path, body = listPath+"?until=end", ""
		}
		req := test.server.request(test.method, path, body, append(test.header, "Content-Type", "text/plain")...)
		if res, text := do(t, testkit.As{User: "user1", Base: testkit.NewTransport(t, false)}, req); res.StatusCode != test.want {
			t.Errorf("%s: %s, %s", test.name, res.Status, text)
		}
	}
}

// Each line of a request counts as a send of its user, and the request as a stream.
func TestManyMessagesAreLimited(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--trusted-proxy", "127.0.0.1/32", "--user-sends", "0.01", "--user-send-burst", "5", "--user-streams", "1")
	lines := strings.Repeat(`{"content":"aGk=","type":"Text"}`+"\n", 9)
	for user, want := range map[string]int{"user1": 5, "user2": 5} {
		req := p.request(http.MethodPost, sendPath, lines, "X-Forwarded-For", "192.0.2.1", "Content-Type", "application/x-ndjson")
		res, answers := do(t, testkit.As{User: user, Base: testkit.NewTransport(t, false)}, req)
		if n := strings.Count(answers, `{"offset":`); res.StatusCode != http.StatusOK || n != want || strings.Count(answers, `"resource_exhausted"`) != 9-want || strings.Count(answers, `"retryAfter":`) != 9-want {
			t.Errorf("%s: %s, %s", user, res.Status, answers)
		}
	}
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	req := p.request(http.MethodPost, sendPath, "", "X-Forwarded-For", "192.0.2.1", "Content-Type", "application/x-ndjson")
	req.Body, req.ContentLength = reader, -1
	open, err := testkit.As{User: "user3", Base: testkit.NewTransport(t, false)}.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Body.Close() }()
	for user, want := range map[string]int{"user3": http.StatusTooManyRequests, "user4": http.StatusOK} {
		req := p.request(http.MethodPost, sendPath, "", "X-Forwarded-For", "192.0.2.1", "Content-Type", "application/x-ndjson")
		if res, text := do(t, testkit.As{User: user, Base: testkit.NewTransport(t, false)}, req); res.StatusCode != want {
			t.Errorf("a second request of %s: %s, %s", user, res.Status, text)
		}
	}
}
