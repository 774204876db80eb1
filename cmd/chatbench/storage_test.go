package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// quickReport runs a quick comparison, and returns its report and its output. On a
// machine so busy that nothing arrives within a run's half second a value is missing: the
// comparison is then run again, two times at most.
func quickReport(t *testing.T, complete func(report string) error, args ...string) (report, stdout string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "REPORT.md")
	args = append(args, "--quick", "--out", out)
	for attempt := range 3 {
		code, stdout, stderr := chatbench(t, args...)
		if code != 0 {
			t.Fatalf("exit code %d, %s%s", code, stdout, stderr)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if err := complete(string(b)); err == nil {
			return string(b), stdout
		} else if attempt == 2 {
			t.Fatalf("%v:\n%s", err, b)
		}
	}
	panic("unreachable")
}

// The storage command runs from the start of both servers to the report.
func TestStorageQuick(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := buildServer(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	plan := (&storageCmd{roundFlags: roundFlags{Rounds: 1}}).plan()
	complete := func(report string) error {
		for _, r := range plan.requirements() {
			row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(r.Text) + ` \| [-0-9].* \| [-0-9].* \| [≤≥<] .* \| – \|$`)
			if !row.MatchString(report) {
				return fmt.Errorf("%s: a value is missing", r.Text)
			}
		}
		return nil
	}
	report, stdout := quickReport(t, complete, "storage", "--server", server, "--before", server)
	for _, want := range []string{
		"quick comparison",
		"| sends alone, 4 × 60 in flight | sends/s | ",
		"| sends alone, 1 × 1 in flight | send p50 | ",
		"| 10 subscribers, 16 × 60 in flight, 50/s | deliveries/s | ",
		"| 500 × 200 bytes stored | first message after SIGKILL | ",
		"| 500 × 100 bytes stored | reconnected, cold | ",
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
	for _, unwanted := range []string{"FAULTS", "NaN", "Inf"} {
		if strings.Contains(report, unwanted) {
			t.Errorf("the report has %q:\n%s", unwanted, report)
		}
	}
}

// Each requirement is reached at its limit, and not beyond it.
func TestRequirements(t *testing.T) {
	t.Parallel()
	cmp := (&storageCmd{Before: os.Args[0], roundFlags: roundFlags{Rounds: 3, Server: os.Args[0]}}).plan()
	set := func(load, system string, r ...*bench.Result) { cmp.Runs[report.Key{Load: load, System: system}] = r }
	delivered := func(n float64) *bench.Result { return &bench.Result{DeliveriesPerSecond: n, Server: &bench.Server{}} }
	sent := func(n float64) *bench.Result { return &bench.Result{SendsPerSecond: n, Server: &bench.Server{}} }
	single := func(d time.Duration) *bench.Result { return &bench.Result{SendLatency: bench.Latency{P50: d}} }
	set(loadSend, syncAlways, sent(85), sent(10), sent(200))
	set(loadSend, inMemory, sent(100))
	set(loadSend, beforeAlways, sent(62))
	set(loadSend, beforeMemory, sent(100))
	set(load4000, syncAlways, delivered(979))
	set(load4000, inMemory, delivered(1000))
	set(load960, syncAlways, delivered(980))
	cmp.syncs = []time.Duration{100 * time.Microsecond, time.Second, 10 * time.Microsecond}
	set(loadSingle, syncAlways, single(251*time.Microsecond))
	set(loadSingle, inMemory, single(100*time.Microsecond))
	set(loadHistory, syncAlways, &bench.Result{History: bench.History{
		AfterKill: 50 * time.Millisecond, AfterStop: 51 * time.Millisecond,
		RestBytes: 80 << 20, JSONBytes: 201 << 20, ReadsPerSecond: 400_000,
		Alone: 20 * time.Millisecond, Beside: 30 * time.Millisecond,
	}})
	set(loadReconnect, syncAlways, &bench.Result{History: bench.History{Hot: time.Second, Cold: 1400 * time.Millisecond}})
	table := cmp.storageTable()
	for _, want := range []string{
		"| sends alone, 240 in flight, always ÷ memory | 0.62 | 0.85 | ≥ 0.85 | yes |\n",
		", 240 in flight, always ÷ memory | – | 0.979 | ≥ 0.98 | **no** |\n",
		", 960 in flight, always ÷ memory | – | – | ≥ 0.98 | – |\n",
		" always − memory | – | 151µs | ≤ 1.5 × a bare write and sync: 150µs | **no** |\n",
		"after SIGKILL, until the first message reaches a subscriber | – | 50ms | ≤ 50ms | yes |\n",
		"after a stop, until the first message reaches a subscriber | – | 51ms | ≤ 50ms | **no** |\n",
		"| memory at rest | – | 80.0 MiB | ≤ 80.0 MiB | yes |\n",
		"as JSON | – | 201.0 MiB | ≤ 200.0 MiB | **no** |\n",
		", messages/s | – | 400.0 k | ≥ 400.0 k | yes |\n",
		"÷ without | – | 1.5 | ≤ 1.5 | yes |\n",
		"cold ÷ hot | – | 1.4 | ≤ 1.3 | **no** |\n",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not have %q:\n%s", want, table)
		}
	}
	if size := regexp.MustCompile(`size of .* \| < before: .* \| \*\*no\*\* \|`); !size.MatchString(table) {
		t.Errorf("a program of the same size is not smaller:\n%s", table)
	}
}

// A run that fails is reported, and is an error unless the older server failed.
func TestStorageFaults(t *testing.T) {
	t.Parallel()
	cmp := (&storageCmd{Before: "x", roundFlags: roundFlags{Rounds: 1}}).plan()
	failed := &bench.Result{Faults: bench.Faults{Lost: 7, Cause: "it fell over"}}
	cmp.Runs[report.Key{Load: loadHistory, System: beforeAlways}] = []*bench.Result{failed}
	if err := cmp.Faults(newSystems...); err != nil {
		t.Errorf("only the older server has faults: %v", err)
	}
	if table := cmp.storageTable(); !strings.HasPrefix(table, "- FAULTS: 2,000,000 × 200 bytes stored, before, --sync always, round 1: 7 deliveries lost") {
		t.Errorf("table:\n%s", table)
	}
	cmp.Runs[report.Key{Load: loadHistory, System: syncAlways}] = []*bench.Result{failed}
	if err := cmp.Faults(newSystems...); err == nil {
		t.Error("a fault is no error")
	}
}

// A server that cannot start with the history is a fault of that run only.
func TestHistoryFails(t *testing.T) {
	t.Parallel()
	cmp := (&storageCmd{Only: []string{loadHistory}, roundFlags: roundFlags{Rounds: 1, Quick: true}}).plan()
	cmp.flags.Server = "/nowhere/simplechat"
	r, err := cmp.withHistory(t.Context(), cmp.planned[0], syncAlways, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults.Err() == nil || !strings.Contains(r.Faults.Cause, "/nowhere/simplechat") {
		t.Errorf("faults %+v", r.Faults)
	}
}

// A history has as many messages as it is said to have.
func TestStoreAndRecall(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	const messages = 500
	w, two := bench.Storing(bench.SmallContent), bench.Reading(wire.ConnectJSON, 2, 1)
	addr := newServer(t, wire.H2C)
	if err := bench.New(w, addr, bench.DemoUser).Store(ctx, messages); err != nil {
		t.Fatal(err)
	}
	if _, err := bench.New(two, addr, bench.DemoUser).Recall(ctx, 2*messages); err != nil {
		t.Error(err)
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	t.Cleanup(cancel)
	if _, err := bench.New(two, addr, bench.DemoUser).Recall(short, 2*messages+1); err == nil {
		t.Error("a message that nobody sent was read")
	}
	if err := bench.New(w, addr, bench.Login{User: "user1", Password: "wrong"}).Store(ctx, 1); err == nil {
		t.Error("a message that was refused counts as stored")
	}
}
