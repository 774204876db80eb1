package main

import (
	"context"
	"fmt"
	"slices"

	"example.com/simplechat/cmd/internal/cli"
)

type compareCmd struct {
	roundFlags

	Only    []string `group:"load" placeholder:"LOAD" help:"Workloads to run, without it all: ${loads}."`
	Systems []string `group:"server" placeholder:"SYSTEM" help:"What to measure beside simplechat, without it all: connect-go, grpc-go, nats, floor."`
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

// Run measures, prints the table of ratios, and writes the report. It returns
// an error if simplechat lost something.
func (c *compareCmd) Run(ctx context.Context, out *cli.Output) error {
	cmp := c.plan()
	defer cmp.clean()
	if err := cmp.prepare(ctx); err != nil {
		return err
	}
	if err := cmp.measure(ctx, out); err != nil {
		return err
	}
	if err := cmp.report(out.Stdout, c.Out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return cmp.faults(ours)
}

// plan chooses what to run.
func (c *compareCmd) plan() *comparison {
	cmp := c.choose(c.Only, loads())
	for _, name := range systemNames {
		if name == ours || len(c.Systems) == 0 || slices.Contains(c.Systems, name) {
			cmp.systems = append(cmp.systems, name)
		}
	}
	return cmp
}
