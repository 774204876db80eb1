//go:build unix

package main

import (
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// ops returns where the operators' pages of a server are.
func (p *process) ops() string {
	p.tb.Helper()
	return strings.TrimSuffix(p.waitLog(regexp.MustCompile(`ops=(\S+)`))[1], "/metrics")
}

// get returns the status and the text of a page.
func get(tb testing.TB, url string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(chattest.Context(tb, patience), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	res, body := do(tb, testkit.NewTransport(tb, false), req)
	return res.StatusCode, body
}

// scrape returns the metrics of a server by name with labels.
func scrape(tb testing.TB, ops string) map[string]float64 {
	tb.Helper()
	status, body := get(tb, ops+"/metrics")
	if status != http.StatusOK {
		tb.Fatalf("%d: %s", status, body)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[i:]), 64)
		if err != nil {
			tb.Fatalf("%q: %v", line, err)
		}
		values[line[:i]] = value
	}
	return values
}

// awaitMetric returns when a metric has a value.
func awaitMetric(tb testing.TB, ops, name string, want float64) {
	tb.Helper()
	ctx := chattest.Context(tb, patience)
	for {
		got, ok := scrape(tb, ops)[name]
		if ok && got == want {
			return
		}
		if ctx.Err() != nil {
			tb.Fatalf("%s is %v, want %v", name, got, want)
		}
	}
}

// The metrics count what clients did, without a label that a client chooses.
func TestMetrics(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServer(t, "--ops-listen=127.0.0.1:0", "--address-wrong-passwords=0")
	ops := p.ops()
	readers := []*chattest.Subscription{chattest.Subscribe(ctx, t, p.client("user1")), chattest.Subscribe(ctx, t, p.client("user2", connect.WithGRPC()))}
	awaitMetric(t, ops, "simplechat_subscribers", 2)
	send(ctx, t, p.client("user3"), text("first"), text("second"), text("third"))
	for _, r := range readers {
		for string(r.Next().GetContent()) != "third" {
		}
	}
	if _, err := p.client("a-stranger:wr0ng").SendMessage(ctx, &chatpb.ChatMessage{}); codeOf(t, err) != connect.CodeUnauthenticated {
		t.Errorf("a wrong password: %v", err)
	}
	for name, want := range map[string]float64{
		"simplechat_deliveries_total":                        6,
		`simplechat_append_seconds_count{result="ok"}`:       3,
		`simplechat_append_seconds_count{result="error"}`:    0,
		`simplechat_authentications_total{result="refused"}`: 1,
		`simplechat_authentications_total{result="ok"}`:      5,
		"simplechat_log_first_offset":                        1,
		"simplechat_log_next_offset":                         4,
		"simplechat_ready":                                   1,
		"simplechat_subscribers":                             2,
		"simplechat_subscribers_behind":                      0,
		"simplechat_body_bytes":                              0,
	} {
		awaitMetric(t, ops, name, want)
	}
	got := scrape(t, ops)
	for _, name := range []string{
		"simplechat_batches_total", "simplechat_delivered_bytes_total", "simplechat_releases_total", "simplechat_wakeups_total",
		"simplechat_hot_bytes", "simplechat_connections", "simplechat_commit_seconds_count", "simplechat_log_size_bytes", "go_goroutines", "process_cpu_seconds_total",
	} {
		if got[name] <= 0 {
			t.Errorf("%s is %v", name, got[name])
		}
	}
	for name := range maps.Keys(got) {
		if strings.Contains(name, "user") || strings.Contains(name, "stranger") || strings.Contains(name, "127.0.0.1") {
			t.Errorf("a label tells of a client: %s", name)
		}
	}
}

// Every limit that is hit has its count.
func TestMetricsOfLimits(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--ops-listen=127.0.0.1:0", "--max-subscribers=1")
	ops := p.ops()
	chattest.Subscribe(chattest.Context(t, patience), t, p.client("user1"))
	stream, err := p.client("user2").MessageList(chattest.Context(t, patience), &chatpb.None{})
	if err != nil {
		t.Fatal(err)
	}
	for stream.Receive() {
	}
	if codeOf(t, stream.Err()) != connect.CodeResourceExhausted {
		t.Errorf("the second: %v", stream.Err())
	}
	awaitMetric(t, ops, `simplechat_refused_total{limit="streams in total"}`, 1)
}

// Operators' pages are on their own port only.
func TestOpsPages(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--ops-listen=127.0.0.1:0")
	ops := p.ops()
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/goroutine?debug=1"} {
		if status, _ := get(t, ops+path); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
		if status, body := get(t, p.url(path)); status != http.StatusNotFound {
			t.Errorf("%s on the public port: %d: %.100s", path, status, body)
		}
	}
	off := startServer(t, "--ops-listen=off")
	off.stop()
	if strings.Contains(off.logText(), "ops=") {
		t.Errorf("off:\n%s", off.logText())
	}
}

// Pages of other sites in an operator's browser get nothing, nor does anybody the
// server's flags.
func TestOpsPagesOfOtherSites(t *testing.T) {
	t.Parallel()
	loopback := startServer(t, "--ops-listen=127.0.0.1:0", "--allow-host=ops.example").ops()
	open := startServer(t, "--ops-listen=0.0.0.0:0").ops()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(open, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	open = "http://127.0.0.1:" + port
	tests := []struct {
		name, ops, path, host, site string
		want                        int
	}{
		{"localhost", loopback, "/metrics", "localhost:65010", "", 200},
		{"allowed name", loopback, "/metrics", "ops.example:65010", "", 200},
		{"other name", loopback, "/metrics", "evil.example:65010", "", 403},
		{"other name, same origin", loopback, "/metrics", "evil.example:65010", "same-origin", 403},
		{"other name beyond loopback", open, "/metrics", "pod.example:65010", "", 200},
		{"typed", loopback, "/metrics", "", "none", 200},
		{"own link", loopback, "/debug/pprof/", "", "same-origin", 200},
		{"other site", loopback, "/debug/pprof/profile", "", "cross-site", 403},
		{"other port", loopback, "/readyz", "", "same-site", 403},
		{"other site beyond loopback", open, "/metrics", "", "cross-site", 403},
		{"flags", loopback, "/debug/pprof/cmdline", "", "", 404},
	}
	for _, test := range tests {
		req, err := http.NewRequestWithContext(chattest.Context(t, patience), http.MethodGet, test.ops+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = test.host
		if test.site != "" {
			req.Header.Set("Sec-Fetch-Site", test.site)
		}
		if res, body := do(t, testkit.NewTransport(t, false), req); res.StatusCode != test.want {
			t.Errorf("%s: %s: %.100s", test.name, res.Status, body)
		}
	}
}

// A port in use is a mistake only if it was asked for.
func TestOpsPortInUse(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got := runHere(t, "serve", "--memory", "--listen=127.0.0.1:0", "--ops-listen="+taken.Addr().String())
	if got.code != 1 {
		t.Errorf("exit code %d", got.code)
	}
	checkOneLine(t, got, "--ops-listen", taken.Addr().String(), "in use")
	byDefault, err := net.Listen("tcp", defaultOps)
	if err == nil { // or another test's server has it
		defer byDefault.Close()
	}
	p := startServer(t)
	p.waitLog(regexp.MustCompile(`level=INFO msg="no metrics`))
	p.stop()
}

// If the server cannot store messages, /readyz gives the reason, and health checks agree.
func TestReadiness(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := startServer(t, "--ops-listen=127.0.0.1:0", "--data", data, "--drain-delay=1h")
	ops := p.ops()
	if status, body := get(t, ops+"/readyz"); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
	if err := os.Rename(data, data+".away"); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, notServing)
	if status, body := get(t, ops+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the log cannot store messages: ") {
		t.Errorf("without its directory: %d: %s", status, body)
	}
	awaitMetric(t, ops, "simplechat_ready", 0)
	if err := os.Rename(data+".away", data); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, serving)

	p.signal(syscall.SIGTERM)
	p.waitLog(regexp.MustCompile(`msg="not ready`))
	if status, body := get(t, ops+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the server is ending") {
		t.Errorf("after SIGTERM: %d: %s", status, body)
	}
	if status, body := get(t, ops+"/healthz"); status != http.StatusOK {
		t.Errorf("alive: %d: %s", status, body)
	}
	send(chattest.Context(t, patience), t, p.client("user1"), text("the delay is for clients that do not know yet"))
}

// A server that waits for its log says so.
func TestNotReadyBeforeLog(t *testing.T) {
	t.Parallel()
	ports := chattest.FreePorts(t, 2)
	cmd := shell(t, `exec "$0" serve --nats nats://127.0.0.1:`+ports[0]+` --listen 127.0.0.1:0 --ops-listen 127.0.0.1:`+ports[1])
	p := startProcess(t, cmd, cmd.Start)
	p.waitLog(regexp.MustCompile("the log is not open yet")) // it takes calls by then
	if status, body := get(t, "http://127.0.0.1:"+ports[1]+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "the log is not open yet") {
		t.Errorf("%d: %s", status, body)
	}
}

// One line tells of a stream's start and one of its end, and none of a message.
func TestStreamsAreLogged(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServerEnv(t, []string{"SIMPLECHAT_LOG_FORMAT=auto"}, "--listen=127.0.0.1:0")
	sub := chattest.Subscribe(ctx, t, p.client("user2", connect.WithGRPC()))
	p.waitLog(regexp.MustCompile(`^\{.*"msg":"subscribed","user":"user2","peer":"127\.0\.0\.1:\d+","protocol":"grpc","offset":1\}`))
	before := strings.Count(p.logText(), "\n")
	for range 20 {
		send(ctx, t, p.client("user1"), text("hello"))
		sub.Next()
	}
	if after := strings.Count(p.logText(), "\n"); after != before {
		t.Errorf("%d lines for 20 messages", after-before)
	}
	_ = sub.Stream.Close()
	p.waitLog(regexp.MustCompile(`^\{.*"msg":"subscriber left","user":"user2","peer":"127\.0\.0\.1:\d+","protocol":"grpc","duration":\d+,"delivered":20,"reason":"the client left"\}`))
}
