package main

import (
	"context"
	"fmt"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/internal/cli"
)

type slowCmd struct {
	roundFlags

	Only []string `group:"load" placeholder:"LOAD" help:"Workloads to run; the default is all: ${slowLoads}. A ratio needs the one with +0, too."`
	Out  string   `group:"report" type:"path" placeholder:"FILE.md" help:"Write the report there."`
}

const (
	// slowSmall and slowLarge bound the latency of honest clients relative to that without
	// toggling clients, in a small crowd and in a large one.
	slowSmall, slowLarge = 1.3, 1.5
	// Rates of messages a second.
	slowOften, slowSeldom = 200, 20
	// crowdToggleTime is the time for which 1,000 clients keep their windows closed, and then
	// open. At bench.DefaultToggleTime they would send 50,000 SETTINGS frames a second,
	// and those alone would occupy two cores, which server and generator share.
	crowdToggleTime = 100 * time.Millisecond
)

// slowLoads are the workloads, in the order of the report: each crowd without
// toggling clients and then with them.
func slowLoads() []load {
	var all []load
	add := func(honest int, rate, most float64, every time.Duration, toggling ...int) {
		name := func(n int) string { return fmt.Sprintf("%d+%d", honest, n) }
		for _, n := range append([]int{0}, toggling...) {
			l := load{name: name(n), workload: bench.Crowd(honest, rate), systems: []string{ours}, figures: []string{report.P50, report.P99}}
			l.workload.Toggling, l.workload.ToggleTime = n, every
			if n > 0 {
				l.goals = []report.Goal{{Figure: report.P50, Factor: most, Load: name(0)}, {Figure: report.P99, Factor: most, Load: name(0)}}
			}
			all = append(all, l)
		}
	}
	for _, honest := range []int{1, 5, 20, 100} {
		add(honest, slowOften, slowSmall, bench.DefaultToggleTime, 1, 2, 3)
	}
	add(900, slowOften, slowLarge, bench.DefaultToggleTime, 100)
	add(9000, slowSeldom, slowLarge, crowdToggleTime, 1000)
	return all
}

// Validate implements kong's hook.
func (c *slowCmd) Validate() error { return c.check(c.Only, slowLoads()) }

// Run measures, prints the table, and writes the report. It returns an error if an honest
// subscriber lost messages.
func (c *slowCmd) Run(ctx context.Context, out *cli.Output) error {
	cmp := c.choose(c.Only, slowLoads())
	cmp.Systems = []string{ours}
	if err := cmp.perform(ctx, out, cmp.slowTable, c.Out, cmp.slowReport); err != nil {
		return err
	}
	return cmp.Faults(ours)
}

// slowTable is the printed part of the report.
func (cmp *comparison) slowTable() string { return cmp.FaultList() + cmp.Caution() + cmp.Toggling() }

// slowReport is the whole report.
func (cmp *comparison) slowReport() string {
	return "# A few slow clients among others\n\n" + cmp.Origin("slow") + cmp.slowTable() + "\n## What was measured\n\n" + cmp.Occasion() +
		fmt.Sprintf("- %s: `simplechat serve --memory`, a new process for each run\n", cmp.version) +
		fmt.Sprintf("- gRPC over h2c, content of %d bytes, a connection each; toggling clients set their initial window to 0 "+
			"for %v (1,000 clients: %v), and then to the largest for as long, again and again; latency of the others, from when a message was due\n",
			bench.SmallContent, bench.DefaultToggleTime, crowdToggleTime)
}
