package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"example.com/simplechat/cmd/internal/cli"
)

type storageCmd struct {
	roundFlags

	Only []string `group:"load" placeholder:"LOAD" help:"Workloads to run, without it all: ${storageLoads}."`
	Out  string   `group:"report" type:"path" placeholder:"FILE.md" help:"Write the report there."`
}

// Ways of simplechat to keep messages.
const (
	syncAlways = "--sync always"
	inMemory   = "--memory"
	syncSecond = "--sync 1s"
)

// storageNames are those ways as the report has them: the default first.
var storageNames = []string{syncAlways, inMemory, syncSecond}

// Validate implements kong's hook.
func (c *storageCmd) Validate() error { return c.check(c.Only, storageLoads()) }

// storageLoads are the workloads, in the order of the report.
func storageLoads() []load {
	keepsUp := []goal{{figure: figDeliveries, least: true, factor: 0.9, system: inMemory}}
	closed, sends := crowd(1000, 0), crowd(0, 0)
	closed.Publishers, sends.Publishers = 16, 16
	running := []load{
		{name: "1000x4000", workload: crowd(1000, 4000), goals: keepsUp,
			figures: []string{figDeliveries, figCPU, figP99, figPeak}},
		{name: load1000, workload: crowd(1000, 1000), goals: keepsUp,
			figures: []string{figDeliveries, figCPU, figP50, figP99}},
		{name: load200, workload: crowd(1000, 200), figures: []string{figCPU, figP50, figP99}},
		{name: "1x20", workload: crowd(1, 20), figures: []string{figP50, figP99}},
		{name: "1000xclosed", workload: closed, goals: keepsUp,
			figures: []string{figDeliveries, figCPU}},
		{name: "send", workload: crowd(0, 0), figures: []string{figSends, figSendCPU, figSendP99}},
		{name: "send16", workload: sends, figures: []string{figSends, figSendCPU, figSendP99}},
		{name: "image", workload: images(500), figures: []string{figPeak, figP99}},
	}
	for i := range running {
		running[i].systems = storageNames
	}
	return slices.Concat(running, startLoads())
}

// startLoads are starts with a history, each after a stop and after a crash.
func startLoads() []load {
	const few, many, large = 10_000, 100_000, 6500 // few large ones are a bit less than the default of --retain-bytes
	soon := []goal{{figure: figStart, limit: float64(200 * time.Millisecond)}}
	histories := []load{
		{name: "start", workload: storing(smallContent), history: &history{}},
		{name: "start10000", workload: storing(smallContent), history: &history{messages: few}, goals: soon},
		{name: "start64MiB", workload: storing(large), history: &history{messages: few}, goals: soon},
		{name: "start100000", workload: storing(smallContent), history: &history{
			messages: many, flags: []string{"--retain-messages", "0", "--retain-bytes", "1GiB"},
		}},
	}
	all := make([]load, 0, 2*len(histories))
	for _, l := range histories {
		l.systems, l.figures = []string{syncAlways}, []string{figStart, figStartPeak}
		all = append(all, l)
		crash := *l.history
		crash.killed = true
		l.name, l.history = l.name+"-killed", &crash
		all = append(all, l)
	}
	return all
}

// Run measures, prints the tables of ratios and of starts, and writes the
// report. It returns an error if something was lost.
func (c *storageCmd) Run(ctx context.Context, out *cli.Output) error {
	cmp := c.plan()
	defer cmp.clean()
	if err := cmp.prepare(ctx); err != nil {
		return err
	}
	disk, err := syncTime(cmp.dir)
	if err != nil {
		return err
	}
	if err := cmp.measure(ctx, out); err != nil {
		return err
	}
	if _, err := io.WriteString(out.Stdout, cmp.storageTables()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if c.Out != "" {
		if err := os.WriteFile(c.Out, []byte(cmp.storageReport(disk)), 0o644); err != nil { //nolint:gosec // a report is for everybody
			return fmt.Errorf("report: %w", err)
		}
	}
	return cmp.faults(storageNames...)
}

// plan chooses what to run.
func (c *storageCmd) plan() *comparison {
	cmp := c.choose(c.Only, storageLoads())
	cmp.systems = storageNames
	return cmp
}

// split returns what is about workloads, and what is about starts.
func (cmp *comparison) split() (running, starting *comparison) {
	one, other := *cmp, *cmp
	starts := func(l load) bool { return l.history != nil }
	one.loads = slices.DeleteFunc(slices.Clone(cmp.loads), starts)
	other.loads = slices.DeleteFunc(slices.Clone(cmp.loads), func(l load) bool { return !starts(l) })
	other.systems = []string{syncAlways}
	return &one, &other
}

// storageTables are what is printed.
func (cmp *comparison) storageTables() string {
	running, starting := cmp.split()
	tables := cmp.faultList() + cmp.caution()
	if len(running.loads) > 0 {
		tables += running.ratioTable()
	}
	if len(starting.loads) > 0 {
		tables += "\nStarts with what an earlier server has left, until it listens:\n\n" + starting.ratioTable()
	}
	return tables
}

// storageReport is the whole report; disk is what a sync took.
func (cmp *comparison) storageReport(disk time.Duration) string {
	running, starting := cmp.split()
	var b strings.Builder
	b.WriteString("# Messages on the disk and in memory\n\n")
	b.WriteString(cmp.origin("storage") + cmp.storageTables())
	b.WriteString("\n" + mediansHeading)
	for _, part := range []*comparison{running, starting} {
		if len(part.loads) > 0 {
			b.WriteString(part.absoluteTable() + "\n")
		}
	}
	b.WriteString("## What was measured\n\n" + cmp.occasion())
	fmt.Fprintf(&b, "- %s: `simplechat serve` with `--data DIR --sync always`, which is the default, with `--memory`, and with `--data DIR --sync 1s`; a new process and a new directory for each run\n", cmp.version)
	fmt.Fprintf(&b, "- a write of %d bytes to a file in such a directory and its sync: %v\n", syncBytes, round(disk))
	b.WriteString("- gRPC over h2c; content of 100 bytes unless a workload says otherwise; subscribers on own connections, 4 connections to send " +
		"with 60 sends in flight each unless a workload says otherwise; latency from when a message was due; CPU and memory are the server's process's\n")
	b.WriteString("- starts: a server stored exactly as many messages and was stopped or killed right after the last acknowledgement; the time is from the " +
		"next one's execution to its log line with msg=listening, with the files in the system's cache; the memory is its largest until then (VmHWM); " +
		"then it handed out all of them; " +
		"100,000 messages with `--retain-messages 0 --retain-bytes 1GiB`\n")
	return b.String()
}

// syncBytes is how much syncTime writes at a time.
const syncBytes = 4 << 10

// syncTime measures what a write to a new file in dir and its sync take: the
// median of some.
func syncTime(dir string) (time.Duration, error) {
	file, err := os.CreateTemp(dir, "sync-")
	if err != nil {
		return 0, err
	}
	defer file.Close() //nolint:errcheck // it goes with its directory
	times := make([]time.Duration, 101)
	for i := range times {
		began := time.Now()
		if _, err := file.Write(make([]byte, syncBytes)); err != nil {
			return 0, err
		}
		if err := file.Sync(); err != nil {
			return 0, err
		}
		times[i] = time.Since(began)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
