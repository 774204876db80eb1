package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// mainVariable makes the test's own program chatbench: compare starts itself
// for the peers.
const mainVariable = "CHATBENCH_TEST_MAIN"

// patience is how long a test waits for what must happen.
const patience = time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(mainVariable) != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	_ = os.Setenv(mainVariable, "1")
	os.Exit(m.Run())
}

// chatbench runs the program in this process, and returns its exit code and its output.
func chatbench(tb testing.TB, args ...string) (code int, stdout, stderr string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out, problems bytes.Buffer
	code = run(ctx, args, &out, &problems)
	return code, out.String(), problems.String()
}

// runLoad is "chatbench run" for a moment: four subscribers, and six senders at a time.
// It returns the exit code, the result and the text on stderr.
func runLoad(tb testing.TB, addr string, args ...string) (int, bench.Result, string) {
	tb.Helper()
	args = append([]string{
		"run", "--json", "--addr", addr, "-s", "4", "-p", "2", "-w", "3", "-r", "200", "-d", "250ms", "--warmup", "50ms", "--settle", "0s",
	}, args...)
	var (
		code   int
		stderr string
		r      bench.Result
	)
	again(tb, func() bool {
		var stdout string
		code, stdout, stderr = chatbench(tb, args...)
		r = bench.Result{}
		if stdout == "" {
			return true // it failed
		}
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			tb.Fatalf("%v in %s", err, stdout)
		}
		return code != 0 || r.Sends > 0
	})
	return code, r, stderr
}

// again calls try until it is done, and fails the test if it never is: on a busy
// machine a short run may end before enough was sent.
func again(tb testing.TB, try func() bool) {
	tb.Helper()
	for start := time.Now(); !try(); {
		if time.Since(start) > patience {
			tb.Fatal("no run sent enough")
		}
	}
}

// checkWhole fails the test unless everything that was sent arrived at n
// subscribers.
func checkWhole(tb testing.TB, code int, r bench.Result, stderr string, n int64) {
	tb.Helper()
	if code != 0 || r.Faults.Err() != nil {
		tb.Errorf("exit code %d, faults %+v: %s", code, r.Faults, stderr)
	}
	if r.Sends == 0 || r.Deliveries != r.Sends*n {
		tb.Errorf("%d deliveries of %d messages to %d subscribers", r.Deliveries, r.Sends, n)
	}
	if n > 0 && (r.Latency.Count == 0 || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P99) {
		tb.Errorf("latency %+v", r.Latency)
	}
	if r.SendLatency.Count == 0 || r.SendLatency.P50 <= 0 {
		tb.Errorf("latency of sends %+v", r.SendLatency)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run", "--protocol", "smtp"},
		{"run", "--protocol", "grpc", "--transport", "http1"},
		{"run", "--size", "5"},
		{"run", "--window", "0"},
		{"run", "--rate", "-1"},
		{"run", "--stuck", "60", "--slow", "60"},
		{"run", "--duration", "0s"},
		{"run", "--publishers", "1000", "--window", "1000"},
		{"compare", "--only", "nothing"},
		{"compare", "--systems", "nothing"},
		{"compare", "--systems=" + inMemory},
		{"compare", "--rounds", "0"},
		{"storage", "--only", "10000x100"},
		{"storage", "--rounds", "0"},
		{"run", "--toggling", "-1"},
		{"run", "--toggling", "1", "--transport", "http1", "--protocol", wire.NDJSON},
		{"slow", "--only", "nothing"},
	} {
		if code, stdout, stderr := chatbench(t, args...); code != 2 || stdout != "" || stderr == "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
	for _, args := range [][]string{{}, {"--help"}, {"run", "--help"}, {"compare", "--help"}, {"storage", "--help"}, {"slow", "--help"}, {"version"}} {
		if code, stdout, stderr := chatbench(t, args...); code != 0 || stdout == "" || stderr != "" {
			t.Errorf("%q: exit code %d, %q, %q", args, code, stdout, stderr)
		}
	}
}
