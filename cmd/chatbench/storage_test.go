package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The storage command runs from the build to the report.
func TestStorageQuick(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "STORAGE.md")
	code, stdout, stderr := chatbench(t, "storage", "--quick", "--only", "1000x4000,send16,start10000,start10000-killed", "--out", out)
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
		"| workload | figure | --sync always | ÷ --memory | ÷ --sync 1s | to reach | reached |",
		"| 10 subscribers, 50/s | peak memory above rest | ",
		"| sends alone, 16 × 60 in flight | sends/s | ",
		"| workload | figure | --sync always | to reach | reached |",
		"| start with 10 × 100 bytes, after a stop | time to start | ",
		"| start with 10 × 100 bytes, after SIGKILL | peak memory | ",
		" and its sync: ",
		" cores (",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not have %q:\n%s", want, report)
		}
	}
	if stdout == "" || !strings.Contains(report, stdout) {
		t.Errorf("what was printed is not in the report:\n%s", stdout)
	}
	for _, unwanted := range []string{"FAULTS", "NaN", "| 0s |", "| peak memory | 0.0 B |"} {
		if strings.Contains(report, unwanted) {
			t.Errorf("the report has %q:\n%s", unwanted, report)
		}
	}
}

// Ratios, starts, goals and faults of each way to keep messages.
func TestStorageReport(t *testing.T) {
	t.Parallel()
	cmp := (&storageCmd{roundFlags: roundFlags{Rounds: 3}}).plan()
	set := func(load, system string, r ...*result) { cmp.runs[runKey{load, system}] = r }
	delivered := func(n float64) *result { return &result{DeliveriesPerSecond: n, Server: &serverResult{}} }
	started := func(ms, bytes int64) *result {
		return &result{startTime: time.Duration(ms) * time.Millisecond, Server: &serverResult{PeakBytes: bytes}}
	}
	set("1000x4000", syncAlways, delivered(900))
	set("1000x4000", inMemory, delivered(1000))
	set("1000x4000", syncSecond, delivered(450))
	set(load1000, syncAlways, delivered(899))
	set(load1000, inMemory, delivered(1000))
	set("start10000", syncAlways, started(300, 3<<20), started(100, 1<<20), started(200, 2<<20))
	set("start64MiB-killed", syncAlways, started(201, 1<<20))
	report := cmp.storageReport(42 * time.Microsecond)
	for _, want := range []string{
		"| 1,000 subscribers, 4,000/s | deliveries/s | 900 | 0.9 | 2 | ≥ 0.9 × --memory | yes |\n",
		"| 1,000 subscribers, 1,000/s | deliveries/s | 899 | 0.899 | | ≥ 0.9 × --memory | **no** |\n",
		"| start with 10,000 × 100 bytes, after a stop | time to start | 200ms | ≤ 200ms | yes |\n",
		"| start with 10,000 × 100 bytes, after a stop | time to start | 200ms (100ms – 300ms) |\n",
		"| start with 10,000 × 100 bytes, after a stop | peak memory | 2.0 MiB (1.0 MiB – 3.0 MiB) |\n",
		"| start with 10,000 × 6,500 bytes, after SIGKILL | time to start | 201ms | ≤ 200ms | **no** |\n",
		"its sync: 42µs\n",
	} {
		if !strings.Contains(report, want) {
			t.Errorf("the report does not have %q:\n%s", want, report)
		}
	}
	if err := cmp.faults(storageNames...); err != nil {
		t.Errorf("there are no faults: %v", err)
	}
	lossy := delivered(1)
	lossy.Faults.Lost = 7
	set("send", syncSecond, lossy)
	if tables := cmp.storageTables(); !strings.HasPrefix(tables, "- FAULTS: sends alone, 4 × 60 in flight, --sync 1s, round 1: 7 deliveries lost") {
		t.Errorf("tables:\n%s", tables)
	}
	if err := cmp.faults(storageNames...); err == nil {
		t.Error("a fault is no error")
	}
}

// Where nothing was measured there is no table.
func TestStorageReportOfStarts(t *testing.T) {
	t.Parallel()
	cmp := (&storageCmd{Only: []string{"start10000"}, roundFlags: roundFlags{Rounds: 1}}).plan()
	if report := cmp.storageReport(0); strings.Contains(report, inMemory+" |") || strings.Count(report, "| workload |") != 2 {
		t.Errorf("report:\n%s", report)
	}
}

// A history has as many messages as it is said to have.
func TestStoreAndRecall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	const messages = 500
	w := storing(smallContent)
	w.Protocol = protocolGRPC
	addr := newServer(t, transportH2C)
	if err := newBench(w, addr, demoUser).store(ctx, messages); err != nil {
		t.Fatal(err)
	}
	if err := newBench(w.reading(), addr, demoUser).recall(ctx, messages); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	t.Cleanup(cancel)
	if err := newBench(w.reading(), addr, demoUser).recall(short, messages+1); err == nil {
		t.Error("a message that nobody sent was read")
	}
	if err := newBench(w, addr, login{"user1", "wrong"}).store(ctx, 1); err == nil {
		t.Error("a message that was refused counts as stored")
	}
}
