package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// bufVariable names a buf to use instead of building one.
const bufVariable = "SIMPLECHAT_BUF"

// buf returns the path of the buf that the repository pins, built on the first
// call.
func buf(tb testing.TB) string {
	tb.Helper()
	path, err := buildBuf()
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

var buildBuf = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(bufVariable); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(buildDir, "buf")
	return path, goCommand(repo, "build", "-modfile=.ci/tools.mod", "-o", path, "github.com/bufbuild/buf/cmd/buf")
})

func TestBufCurl(t *testing.T) {
	t.Parallel()
	buf := buf(t)
	schemas := map[string][]string{
		"reflection": {"--http2-prior-knowledge"}, // a stream both ways needs HTTP/2
		"schema":     {"--schema", repo, "--http2-prior-knowledge"},
		"http1":      {"--schema", repo},
	}
	for _, protocol := range []string{"grpc", "grpcweb", "connect"} {
		for name, schema := range schemas {
			if protocol == "grpc" && name == "http1" {
				continue // gRPC is HTTP/2
			}
			t.Run(protocol+"/"+name, func(t *testing.T) {
				t.Parallel()
				p := startServer(t)
				args := append([]string{"curl", "--protocol", protocol, "-u", "user1:qwerty"}, schema...)
				w := watch(t, buf, append(args, "-d", "{}", p.url(listPath))...)
				batches := json.NewDecoder(w.stdout)
				if got := nextBatch(t, w, batches); len(got) > 0 {
					t.Errorf("first batch %v", got)
				}
				if out := execute(t, buf, append(args, "-d", helloMsg, p.url(sendPath))...); out != "{}\n" {
					t.Errorf("sendMessage printed %q", out)
				}
				got := nextBatch(t, w, batches)
				want := jsonMessage{Timestamp: "1700000000000", Content: "aGVsbG8=", Type: "Text", From: "user1"}
				if len(got) != 1 || got[0] != want {
					t.Errorf("second batch %v", got)
				}
			})
		}
	}
}

// jsonMessage is a ChatMessage in JSON.
type jsonMessage struct {
	Timestamp string `json:"timestamp"`
	Content   string `json:"content"`
	Type      string `json:"type"`
	From      string `json:"from"`
}

// nextBatch returns the messages of the next ChatMessages that a program
// prints.
func nextBatch(tb testing.TB, w *watcher, from *json.Decoder) []jsonMessage {
	tb.Helper()
	var batch struct {
		Messages []jsonMessage `json:"messages"`
	}
	if err := from.Decode(&batch); err != nil {
		tb.Fatalf("%s: %v\n%s", w.cmd, err, w.stderr.Bytes())
	}
	return batch.Messages
}
