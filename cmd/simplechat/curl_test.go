package main

import (
	"encoding/binary"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// curl returns the path of curl. Continuous integration must have it.
func curl(tb testing.TB) string {
	tb.Helper()
	path, err := exec.LookPath("curl")
	switch {
	case err == nil:
		return path
	case os.Getenv("CI") == "true":
		tb.Fatal("curl is not installed, and CI=true: ", err)
	default:
		tb.Skip("curl is not installed: ", err)
	}
	return ""
}

const (
	sendPath = chatconnect.SimpleChatSendMessageProcedure
	listPath = chatconnect.SimpleChatMessageListProcedure

	jsonType = "Content-Type: application/json"
	helloMsg = `{"content":"aGVsbG8=","type":"Text","timestamp":"1700000000000"}`
	// helloLine is a batch of that message as user1 sent it.
	helloLine = `{"messages":[{"timestamp":"1700000000000","content":"aGVsbG8=","type":"Text","from":"user1"}]}`
)

func TestCurlSends(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	for _, tt := range []struct {
		name string
		args []string
	}{
		{"basic", []string{"-u", "user1:qwerty"}},
		{"qt's headers", []string{"-H", "user-name: user1", "-H", "user-password: qwerty"}},
		{"http2", []string{"-u", "user1:qwerty", "--http2-prior-knowledge"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startServer(t)
			args := append([]string{"-sS", "-i", "-H", jsonType, "-d", helloMsg, p.url(sendPath)}, tt.args...)
			head, body, _ := strings.Cut(execute(t, curl, args...), "\r\n\r\n")
			if body != "{}" || !strings.Contains(head, " 200") || !strings.Contains(strings.ToLower(head), "chat-offset: ") {
				t.Errorf("answer:\n%s\n\n%s", head, body)
			}
			if got := history(t, p); len(got) != 1 || got[0] != "hello" {
				t.Errorf("history %q", got)
			}
		})
	}
}

func TestCurlReadsErrors(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	p := startServer(t)
	for _, tt := range []struct {
		name, user, path, body string
		status, want           string
	}{
		{"wrong password, send", "user1:wrong", sendPath, helloMsg, "401", `{"code":"unauthenticated"`},
		{"wrong password, stream", "user1:wrong", listPath, "{}", "401", `{"code":"unauthenticated"`},
		{"unknown type", "user1:qwerty", sendPath, `{"type":"Video"}`, "400", `{"code":"invalid_argument"`},
		{"not JSON", "user1:qwerty", sendPath, `{"type"`, "400", `{"code":"invalid_argument"`},
		{"unknown procedure", "user1:qwerty", "/qtgrpc.examples.chat.SimpleChat/other", `{}`, "404", "messageList or sendMessage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out := execute(t, curl, "-sS", "-u", tt.user, "-H", jsonType, "-d", tt.body, "-w", "\n%{http_code}", p.url(tt.path))
			body, status, _ := strings.Cut(out, "\n")
			status = status[strings.LastIndex(status, "\n")+1:] // a text's own line end comes before
			if status != tt.status || !strings.Contains(body, tt.want) {
				t.Errorf("answer %s: %s", status, body)
			}
		})
	}
}

// The stream is a line for each batch, at once, and the last line says why it
// ended.
func TestCurlWatchesLines(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	for name, args := range map[string][]string{"http1": nil, "http2": {"--http2-prior-knowledge"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startServer(t)
			w := watch(t, curl, append(args, "-sS", "-N", "-u", "user2:qwerty", "-H", jsonType, "-d", "{}", p.url(listPath))...)
			if got := w.line(); got != "{}" {
				t.Errorf("first line %q", got)
			}
			p.post(sendPath, helloMsg)
			if got := w.line(); got != helloLine {
				t.Errorf("second line %q", got)
			}
			p.stop()
			if got := w.line(); !strings.HasPrefix(got, `{"code":"unavailable","message":"`) {
				t.Errorf("last line %q", got)
			}
			if err := w.cmd.Wait(); err == nil {
				t.Error("curl takes a stream that the server has cut for a complete one")
			}
		})
	}
}

// Connect's own stream, each message in an envelope.
func TestCurlWatchesEnvelopes(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	p := startServer(t)
	request := tempFile(t, "request", "\x00\x00\x00\x00\x02{}")
	w := watch(t, curl, "-sS", "-N", "-u", "user2:qwerty", "-H", "Content-Type: application/connect+json",
		"--data-binary", "@"+request, p.url(listPath))
	envelope := func() (flags byte, message string) {
		prefix := w.bytes(5)
		return prefix[0], string(w.bytes(int(binary.BigEndian.Uint32(prefix[1:]))))
	}
	if flags, got := envelope(); flags != 0 || got != "{}" {
		t.Errorf("first envelope %d %s", flags, got)
	}
	p.post(sendPath, helloMsg)
	if flags, got := envelope(); flags != 0 || got != helloLine {
		t.Errorf("second envelope %d %s", flags, got)
	}
	p.stop()
	const endOfStream = 2 // Connect protocol, "Streaming RPCs"
	if flags, got := envelope(); flags != endOfStream || !strings.Contains(got, `"code":"unavailable"`) {
		t.Errorf("last envelope %d %s", flags, got)
	}
}

func TestCurlSpeaksGRPC(t *testing.T) {
	t.Parallel()
	curl := curl(t)
	p := startServer(t)
	request := tempFile(t, "request", "\x00\x00\x00\x00\x09\x12\x05hello\x18\x01")
	for password, status := range map[string]string{"qwerty": "0", "wrong": "16"} {
		t.Run(password, func(t *testing.T) {
			t.Parallel()
			// A stranger's body is not read: if it comes after the answer, the
			// server resets the stream with NO_ERROR (RFC 9113, section 8.1),
			// and curl of that time exits with 92 although it has the answer.
			// On a busy machine it may even forget the header fields or the trailers.
			var out string
			for range 10 {
				out = execute(t, "sh", "-c", `"$@" || [ $? = 92 ]`, "sh", curl, "-sS", "-D", "-", "--http2-prior-knowledge", "-u", "user1:"+password,
					"-H", "Content-Type: application/grpc", "-H", "TE: trailers", "--data-binary", "@"+request, p.url(sendPath))
				if strings.HasPrefix(out, "HTTP/2 200") && strings.Contains(out, "grpc-status") {
					break
				}
			}
			// net/http adds a Content-Length, and curl reads no further: the row that only
			// package h2 satisfies.
			hasTrailers := strings.Contains(out, "grpc-status: "+status+"\r\n") || os.Getenv(testStdHTTP2) != "" && strings.Contains(out, "content-length: 5\r\n")
			if !strings.HasPrefix(out, "HTTP/2 200") || !hasTrailers {
				t.Errorf("answer %q", out)
			}
			if empty := "\x00\x00\x00\x00\x00"; strings.Contains(out, empty) != (status == "0") {
				t.Errorf("status %s, answer %q", status, out)
			}
		})
	}
}

// The commands that the server suggests on a terminal work unchanged.
func TestHints(t *testing.T) {
	t.Parallel()
	curl(t)
	p := startServer(t)
	var hints strings.Builder
	new(serveCmd).printHints(&hints, p.addr)
	if lines := strings.Split(strings.TrimSpace(hints.String()), "\n"); len(lines) != 3 || !strings.Contains(lines[0], "http://"+p.addr+"/") {
		t.Errorf("the hints are:\n%s", hints.String())
	}
	if want := "simplechat chat --server http://" + p.addr + "\n"; !strings.Contains(hints.String(), want) {
		t.Errorf("the hints have no %q:\n%s", want, hints.String())
	}
	_, command, _ := strings.Cut(hints.String(), "curl:")
	if got := execute(t, "sh", "-c", command); strings.TrimSpace(got) != `{"offset":"1","type":"Text"}` {
		t.Errorf("%s answers %q", command, got)
	}
}
