package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/internal/cli"
)

// roundFlags are the flags of commands that run workloads in rounds.
type roundFlags struct {
	Server   string        `group:"server" type:"path" placeholder:"PATH" help:"simplechat to measure; without it, it is built from this module with go build."`
	Rounds   int           `group:"load" default:"3" placeholder:"N" help:"Runs of each workload on each system, in alternation; the medians count (${default})."`
	Warmup   time.Duration `group:"load" default:"1s" placeholder:"DURATION" help:"Load before each measurement (${default})."`
	Duration time.Duration `group:"load" short:"d" default:"5s" placeholder:"DURATION" help:"Measured load of each run (${default})."`
	Quick    bool          `group:"load" help:"One short round with few subscribers: it shows that all works, not how fast."`
}

// check returns an error for a flag that is not valid, or a load in only that is not
// among all.
func (f *roundFlags) check(only []string, all []load) error {
	if f.Rounds < 1 || f.Duration <= 0 || f.Warmup < 0 {
		return errors.New("--rounds and --duration must be positive, --warmup not negative")
	}
	for _, name := range only {
		if !slices.ContainsFunc(all, func(l load) bool { return l.name == name }) {
			return fmt.Errorf("--only %s: there are %s", name, loadNames(all))
		}
	}
	return nil
}

// comparison is a series of runs and their results.
type comparison struct {
	report.Comparison

	flags   *roundFlags
	planned []load
	dir     string          // for simplechat, if it is built, and its data
	version string          // simplechat's
	syncs   []time.Duration // times of single syncs on this disk

	before, beforeVersion string // path and version of the older simplechat, if it is measured too
}

// choose returns a comparison with the loads that only names, or with all.
func (f *roundFlags) choose(only []string, all []load) *comparison {
	if f.Quick {
		f.Rounds, f.Warmup, f.Duration = 1, quickTime/4, quickTime
	}
	cmp := &comparison{flags: f, Comparison: report.Comparison{
		Titles: make(map[string]string), Runs: make(map[report.Key][]*bench.Result),
		Rounds: f.Rounds, Warmup: f.Warmup, Duration: f.Duration, Quick: f.Quick, Started: time.Now(),
	}}
	for _, l := range all {
		cmp.Titles[l.name] = l.title()
		if len(only) > 0 && !slices.Contains(only, l.name) {
			continue
		}
		l.workload.Warmup, l.workload.Duration = f.Warmup, f.Duration
		if f.Quick {
			l = l.shrunk()
		}
		cmp.planned = append(cmp.planned, l)
		cmp.Loads = append(cmp.Loads, report.Load{Name: l.name, Title: l.title(), Figures: l.figures, Goals: l.goals})
	}
	return cmp
}

// perform runs everything, prints the table, and writes the whole report to file unless
// that is empty.
func (cmp *comparison) perform(ctx context.Context, out *cli.Output, table func() string, file string, text func() string) error {
	defer func() { _ = os.RemoveAll(cmp.dir) }()
	if err := cmp.prepare(ctx); err != nil {
		return err
	}
	if err := cmp.measure(ctx, out); err != nil {
		return err
	}
	if _, err := io.WriteString(out.Stdout, table()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if file == "" {
		return nil
	}
	if err := os.WriteFile(file, []byte(text()), 0o644); err != nil { //nolint:gosec // a report is for everybody
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// prepare builds simplechat unless a flag names one, and asks for its version.
func (cmp *comparison) prepare(ctx context.Context) (err error) {
	if cmp.dir, err = os.MkdirTemp("", "chatbench-"); err != nil {
		return err
	}
	if cmp.flags.Server == "" {
		if cmp.flags.Server, err = buildServer(ctx, cmp.dir); err != nil {
			return err
		}
	}
	if cmp.version, err = serverVersion(ctx, cmp.flags.Server); err != nil || cmp.before == "" {
		return err
	}
	if cmp.beforeVersion, err = serverVersion(ctx, cmp.before); err != nil {
		return fmt.Errorf("--before: %w", err)
	}
	return nil
}

// measure runs everything in alternation, so that other work on the machine hits
// all systems alike.
func (cmp *comparison) measure(ctx context.Context, out *cli.Output) error {
	for round := range cmp.flags.Rounds {
		for _, l := range cmp.planned {
			for i := range cmp.Systems {
				name := cmp.Systems[(i+round)%len(cmp.Systems)]
				if !slices.Contains(l.systems, name) {
					continue
				}
				fmt.Fprintf(out.Stderr, "round %d of %d, %s: %s\n", round+1, cmp.flags.Rounds, l.title(), name)
				r, err := cmp.one(ctx, l, name, out)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", l.title(), name, err)
				}
				key := report.Key{Load: l.name, System: name}
				cmp.Runs[key] = append(cmp.Runs[key], r)
			}
		}
	}
	cmp.Took = time.Since(cmp.Started)
	return nil
}

// server is the path of a system's simplechat.
func (cmp *comparison) server(name string) string {
	if systems[name].before {
		return cmp.before
	}
	return cmp.flags.Server
}

// one runs a workload on a new process of a system.
func (cmp *comparison) one(ctx context.Context, l load, name string, out *cli.Output) (r *bench.Result, err error) {
	dir, err := os.MkdirTemp(cmp.dir, "data-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l.workload.Protocol = systems[name].protocol
	if l.history != nil {
		return cmp.withHistory(ctx, l, name, dir)
	}
	child, err := systems[name].start(ctx, cmp.server(name), dir)
	if err != nil {
		return nil, err
	}
	defer child.stop()
	if l.disk {
		if err := cmp.measureDisk(dir); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, cmp.measureDisk(dir)) }()
	}
	b := bench.New(l.workload, child.addr, bench.DemoUser)
	b.Process = &bench.Process{PID: child.pid()}
	b.Settle = l.settle
	b.Progress = bench.NewProgress(out.Stderr)
	r, err = b.Execute(ctx)
	b.Progress.Clear()
	debug.FreeOSMemory() // each run begins with the same memory
	return r, err
}

// measureDisk measures more syncs on the disk below dir.
func (cmp *comparison) measureDisk(dir string) error {
	times, err := bench.SyncTimes(dir)
	cmp.syncs = append(cmp.syncs, times...)
	return err
}
