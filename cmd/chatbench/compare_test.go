package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/report"
)

// Each peer gives everything to everybody.
func TestPeers(t *testing.T) {
	t.Parallel()
	for _, name := range systemNames[1:] {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := systems[name]
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			t.Cleanup(cancel)
			child, err := s.start(ctx, "", "")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(child.stop)
			code, r, stderr := runLoad(t, child.addr, "--protocol", s.protocol)
			checkWhole(t, code, r, stderr, 4)
			code, r, stderr = runLoad(t, child.addr, "--protocol", s.protocol, "--rate", "0")
			checkWhole(t, code, r, stderr, 4)
			if name == writeFloor {
				return // it knows no users
			}
			if code, _, stderr := runLoad(t, child.addr, "--protocol", s.protocol, "--password", "wrong"); code != 1 || stderr == "" {
				t.Errorf("wrong password: exit code %d, %q", code, stderr)
			}
		})
	}
}

// The comparison runs from the build to the report.
func TestCompareQuick(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "RESULTS.md")
	code, stdout, stderr := chatbench(t, "compare", "--quick", "--only", "1000x1000,idle,image", "--out", out)
	if code != 0 {
		t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	report := string(b)
	for _, want := range []string{
		"quick comparison",
		"| workload | figure | simplechat | ÷ connect-go | ÷ grpc-go | ÷ nats | ÷ floor | to reach | reached |",
		"| 10 subscribers, 50/s | p99 | ",
		"| 10 idle subscribers | memory per idle subscriber | ",
		"](RESULTS.svg)",
		"github.com/nats-io/nats-server/v2 v2.",
		" cores (",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not have %q:\n%s", want, report)
		}
	}
	if !strings.Contains(report, stdout) {
		t.Errorf("what was printed is not in the report:\n%s", stdout)
	}
	if strings.Contains(report, "FAULTS") || strings.Contains(report, "NaN") {
		t.Errorf("report:\n%s", report)
	}
	checkSVG(t, strings.TrimSuffix(out, ".md")+".svg")
}

// A comparison in which simplechat loses messages says so first, and fails.
func TestCompareReportsFaults(t *testing.T) {
	t.Parallel()
	cmp := (&compareCmd{roundFlags: roundFlags{Rounds: 1}, Only: []string{"1x20"}}).plan()
	fine := &bench.Result{Server: &bench.Server{}}
	lossy := &bench.Result{Server: &bench.Server{}, Faults: bench.Faults{Lost: 7}}
	cmp.Runs = map[report.Key][]*bench.Result{{Load: "1x20", System: ours}: {fine}, {Load: "1x20", System: grpcGo}: {lossy}}
	table := cmp.peersTable()
	if !strings.HasPrefix(table, "- FAULTS: 1 subscriber, 20/s, grpc-go, round 1: 7 deliveries lost") {
		t.Errorf("table:\n%s", table)
	}
	if err := cmp.Faults(ours); err != nil {
		t.Errorf("a peer's fault counts as ours: %v", err)
	}
	cmp.Runs[report.Key{Load: "1x20", System: ours}] = []*bench.Result{fine, lossy}
	if err := cmp.Faults(ours); err == nil {
		t.Error("our own fault is no error")
	}
}

// A server that dies is reported, with its results before that.
func TestServerDies(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	child, err := systems[grpcGo].start(ctx, "", "")
	if err != nil {
		t.Fatal(err)
	}
	killed := time.AfterFunc(1500*time.Millisecond, child.stop)
	t.Cleanup(func() { killed.Stop() })
	code, r, stderr := runLoad(t, child.addr, "--pid", strconv.Itoa(child.pid()), "-d", "3s")
	if code != 1 || r.Faults.Ended != 4 || r.Faults.Cause == "" || r.Sends == 0 {
		t.Errorf("exit code %d, %d sends, %+v: %s", code, r.Sends, r.Faults, stderr)
	}
}

// A server that does not start is an error, and does not hang.
func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("false")
	if err != nil {
		t.Skip("there is no program that fails")
	}
	code, stdout, stderr := chatbench(t, "compare", "--quick", "--server", path)
	if code != 1 || stdout != "" || !strings.Contains(stderr, path) {
		t.Errorf("exit code %d, %q, %q", code, stdout, stderr)
	}
}
