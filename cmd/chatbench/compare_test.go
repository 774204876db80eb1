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
	fine := &result{Server: &serverResult{}}
	lossy := &result{Server: &serverResult{}, Faults: faults{Lost: 7}}
	cmp.runs = map[runKey][]*result{{"1x20", ours}: {fine}, {"1x20", grpcGo}: {lossy}}
	var b strings.Builder
	if err := cmp.report(&b, ""); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(b.String(), "- FAULTS: 1 subscriber, 20/s, grpc-go, round 1: 7 deliveries lost") {
		t.Errorf("report:\n%s", b.String())
	}
	if err := cmp.faults(ours); err != nil {
		t.Errorf("a peer's fault counts as ours: %v", err)
	}
	cmp.runs[runKey{"1x20", ours}] = []*result{fine, lossy}
	if err := cmp.faults(ours); err == nil {
		t.Error("our own fault is no error")
	}
}

// Medians, ratios and goals.
func TestFigures(t *testing.T) {
	t.Parallel()
	cmp := (&compareCmd{roundFlags: roundFlags{Rounds: 3}}).plan()
	cmp.runs = make(map[runKey][]*result)
	set := func(load, system string, values ...float64) {
		for _, v := range values {
			cmp.runs[runKey{load, system}] = append(cmp.runs[runKey{load, system}],
				&result{DeliveriesPerSecond: v, Server: &serverResult{NanosPerDelivery: 1e6 / v}})
		}
	}
	set("1000x4000", ours, 900, 100, 400)
	set("1000x4000", grpcGo, 50, 200)
	for _, c := range []struct {
		goal           goal
		reached, known bool
	}{
		{goal{figure: figDeliveries, least: true, factor: 3.2, system: grpcGo}, true, true},
		{goal{figure: figDeliveries, least: true, factor: 3.3, system: grpcGo}, false, true},
		{goal{figure: figDeliveries, least: true, limit: 401}, false, true},
		{goal{figure: figDeliveries, limit: 401}, true, true},
		{goal{figure: figCPU, factor: 0.2, system: grpcGo}, true, true},
		{goal{figure: figCPU, factor: 0.19, system: grpcGo}, false, true},
		{goal{figure: figCPU, factor: 1, load: "1000x4000"}, true, true},
		{goal{figure: figCPU, factor: 1, system: natsCore}, false, false},
	} {
		if reached, known := cmp.reached("1000x4000", c.goal); reached != c.reached || known != c.known {
			t.Errorf("%s: reached %v, known %v", c.goal.text(), reached, known)
		}
	}
	if row := cmp.ratioTable(); !strings.Contains(row, "| 1,000 subscribers, 4,000/s | deliveries/s | 400 | | 3.2 | |") {
		t.Errorf("table:\n%s", row)
	}
	if cell := cmp.cell("1000x4000", ours, figDeliveries); cell != "400 (100 – 900)" {
		t.Errorf("cell %q", cell)
	}
}

// A server that dies is reported, with what it did before.
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
