package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"example.com/simplechat/cmd/internal/cli"
)

type compareCmd struct {
	roundFlags

	Only    []string `group:"load" placeholder:"LOAD" help:"Workloads to run; the default is all: ${loads}."`
	Systems []string `group:"server" placeholder:"SYSTEM" help:"Systems to measure beside simplechat; the default is all: connect-go, grpc-go, nats, floor."`
	Out     string   `group:"report" type:"path" placeholder:"FILE.md" help:"Write the report there, and the plot beside it as FILE.svg."`
}

// Validate implements kong's hook.
func (c *compareCmd) Validate() error {
	for _, name := range c.Systems {
		if !slices.Contains(systemNames, name) {
			return fmt.Errorf("--systems %s: there are connect-go, grpc-go, nats and floor", name)
		}
	}
	return c.check(c.Only, loads())
}

// Run measures, prints the table of ratios, and writes the report. It returns an error if
// simplechat lost messages.
func (c *compareCmd) Run(ctx context.Context, out *cli.Output) error {
	cmp := c.plan()
	plotFile := strings.TrimSuffix(c.Out, filepath.Ext(c.Out)) + ".svg"
	whole := func() string { return cmp.peersReport(filepath.Base(plotFile)) }
	if err := cmp.perform(ctx, out, cmp.peersTable, c.Out, whole); err != nil {
		return err
	}
	if c.Out != "" {
		if err := cmp.Plot(plotFile); err != nil {
			return fmt.Errorf("plot: %w", err)
		}
	}
	return cmp.Faults(ours)
}

// plan chooses the workloads and systems.
func (c *compareCmd) plan() *comparison {
	cmp := c.choose(c.Only, loads())
	for _, name := range systemNames {
		if name == ours || len(c.Systems) == 0 || slices.Contains(c.Systems, name) {
			cmp.Systems = append(cmp.Systems, name)
		}
	}
	return cmp
}

// peersTable is the printed part of the report.
func (cmp *comparison) peersTable() string { return cmp.FaultList() + cmp.Caution() + cmp.Ratios() }

// peersReport is the whole report.
func (cmp *comparison) peersReport(plotFile string) string {
	return "# simplechat and its peers\n\n" + cmp.Origin("compare") + cmp.peersTable() +
		fmt.Sprintf("\n![CPU and latency by workload](%s)\n\n", plotFile) +
		cmp.Medians() +
		"\n## What was measured\n\n" + cmp.circumstances()
}

// circumstances are machine, versions and date.
func (cmp *comparison) circumstances() string {
	var b strings.Builder
	b.WriteString(cmp.Occasion())
	fmt.Fprintf(&b, "- %s: `simplechat serve --memory`\n", cmp.version)
	for _, name := range cmp.Systems {
		if module := systems[name].module; module != "" {
			fmt.Fprintf(&b, "- %s: %s %s, `chatbench peer %s`\n", name, module, moduleVersion(module), systems[name].peer)
		}
	}
	b.WriteString("- floor: one write(2) of as many bytes for each delivery, `chatbench peer floor`\n")
	b.WriteString("- gRPC over h2c, NATS in its text protocol; content of 100 bytes unless a workload says otherwise; subscribers on own connections, " +
		"4 connections to send with 60 sends in flight each; latency from when a message was due; a new process for each run\n")
	return b.String()
}
