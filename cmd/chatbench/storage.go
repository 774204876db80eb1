package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
)

type storageCmd struct {
	roundFlags

	Before string   `group:"server" type:"path" placeholder:"PATH" help:"Older simplechat to measure, too, for the column \"before\"."`
	Only   []string `group:"load" placeholder:"LOAD" help:"Workloads to run; the default is all: ${storageLoads}."`
	Out    string   `group:"report" type:"path" placeholder:"FILE.md" help:"Write the report there."`
}

// Ways of simplechat to keep messages.
const (
	syncAlways = "--sync always"
	inMemory   = "--memory"
	syncSecond = "--sync 1s"

	beforeAlways = "before, --sync always"
	beforeMemory = "before, --memory"
)

// newSystems are those ways of the simplechat that the report is about.
var newSystems = []string{syncAlways, inMemory, syncSecond}

// Names of loads that requirements refer to.
const (
	loadSend      = "send"
	loadSingle    = "single"
	load4000      = "1000x4000"
	load960       = "1000x4000-960"
	loadHistory   = "history"
	loadReconnect = "reconnect"
)

// Validate implements kong's hook.
func (c *storageCmd) Validate() error { return c.check(c.Only, storageLoads()) }

// storageLoads are the workloads, in the order of the report.
func storageLoads() []load {
	const long, short, storedContent = 2_000_000, 10_000, 200
	single, many := bench.Crowd(0, 0), bench.Crowd(1000, 4000)
	single.Publishers, single.Window = 1, 1
	many.Publishers = 16
	live := bench.Crowd(1000, 1000)
	live.Protocol = wire.GRPC
	versions := []string{syncAlways, inMemory, beforeAlways, beforeMemory}
	onDisk := []string{syncAlways, beforeAlways}
	return []load{
		{name: loadSend, workload: bench.Crowd(0, 0), systems: append([]string{syncSecond}, versions...),
			figures: []string{report.Sends, report.SendCPU, report.SendP99, report.SendMax}},
		{name: loadSingle, workload: single, systems: append([]string{syncSecond}, versions...), disk: true,
			figures: []string{report.SendP50, report.SendP99, report.SendP999, report.SendMax}},
		{name: load4000, workload: bench.Crowd(1000, 4000), systems: versions,
			figures: []string{report.Deliveries, report.CPU, report.P99, report.Peak}},
		{name: load960, workload: many, systems: versions,
			figures: []string{report.Deliveries, report.CPU, report.P99}},
		{name: loadHistory, workload: live, systems: onDisk, settle: time.Second,
			history: &history{messages: long, size: storedContent, measure: measureLong},
			figures: []string{report.Killed, report.Stopped, report.Rest, report.JSON, report.Reads, report.Alone, report.Beside}},
		{name: loadReconnect, workload: bench.Reading(wire.GRPC, 10_000, 100), systems: onDisk,
			history: &history{messages: short, size: bench.SmallContent, measure: measureReconnect},
			figures: []string{report.Hot, report.Cold}},
	}
}

// Run measures, prints the table of requirements, and writes the report. It returns an
// error if messages were lost.
func (c *storageCmd) Run(ctx context.Context, out *cli.Output) error {
	cmp := c.plan()
	if err := cmp.perform(ctx, out, cmp.storageTable, c.Out, cmp.storageReport); err != nil {
		return err
	}
	return cmp.Faults(newSystems...)
}

// plan chooses what to run.
func (c *storageCmd) plan() *comparison {
	cmp := c.choose(c.Only, storageLoads())
	cmp.before = c.Before
	cmp.Systems = slices.Clone(newSystems)
	if c.Before != "" {
		cmp.Systems = append(cmp.Systems, beforeAlways, beforeMemory)
	}
	return cmp
}

// storageTable is the printed part of the report.
func (cmp *comparison) storageTable() string {
	return cmp.FaultList() + cmp.Caution() + report.Requirements(cmp.requirements(), cmp.Quick)
}

// storageReport is the whole report.
func (cmp *comparison) storageReport() string {
	var b strings.Builder
	b.WriteString("# Messages on the disk and in memory\n\n")
	b.WriteString(cmp.Origin("storage") + cmp.storageTable())
	b.WriteString("\n" + cmp.Medians())
	b.WriteString("\n## What was measured\n\n" + cmp.Occasion())
	fmt.Fprintf(&b, "- %s: `simplechat serve` with `--data DIR --sync always`, which is the default, with `--memory`, and with `--data DIR --sync 1s`; a new process and a new directory for each run\n", cmp.version)
	if cmp.before != "" {
		fmt.Fprintf(&b, "- before: %s, with the same flags; without others it retains 10,000 messages or 64 MiB\n", cmp.beforeVersion)
	}
	fmt.Fprintf(&b, "- a write of %d bytes over others in a file and its sync: %v, the median of %d, measured before and after each run of single sends\n",
		bench.SyncBytes, human.Round(bench.MedianTime(cmp.syncs)), len(cmp.syncs))
	b.WriteString(storageNotes)
	return b.String()
}

// storageNotes say how the figures were measured.
const storageNotes = "- gRPC over h2c; content of 100 bytes unless a workload says otherwise; subscribers on own connections, 4 connections to send " +
	"with 60 sends in flight each unless a workload says otherwise; latency from when a message was due; CPU and memory are the server's process's\n" +
	"- the write-ahead log is copied into the database (a checkpoint) each time that 4 MiB were added, which is every 500 single sends: " +
	"sends during one are among the slowest 0.2 %\n" +
	"- a history is stored with `--retain-messages 0 --retain-bytes 1GiB`. The server is killed right after the last acknowledgement, " +
	"and its successor is stopped. A start is the time from the execution to the first batch with a message at a subscriber without " +
	"`Chat-Offset`, with the files in the system's cache; the subscriber connects until it succeeds\n" +
	"- memory is resident: at rest a second after that subscriber left, then right after another one has read all as JSON over Connect; those " +
	"who read all send `Chat-Offset: 1`\n" +
	"- live subscribers: 1,000 at 1,000/s, alone and then beside 8 readers on one connection each, which begin again at the first message when " +
	"they have read all\n" +
	"- 10,000 clients reconnect on 100 connections and send `Chat-Offset: 1`; the time until all have all messages: hot on the server that was sent the " +
	"messages, cold on one that was just started\n"
