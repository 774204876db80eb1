package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"example.com/simplechat/cmd/internal/cli"
)

// roundFlags are those of commands that run workloads in rounds.
type roundFlags struct {
	Server   string        `group:"server" type:"path" placeholder:"PATH" help:"simplechat to measure; without it, it is built from this module with go build."`
	Rounds   int           `group:"load" default:"3" placeholder:"N" help:"Runs of each workload on each system, in alternation; the medians count (${default})."`
	Warmup   time.Duration `group:"load" default:"1s" placeholder:"DURATION" help:"Load before each measurement (${default})."`
	Duration time.Duration `group:"load" short:"d" default:"5s" placeholder:"DURATION" help:"Measured load of each run (${default})."`
	Quick    bool          `group:"load" help:"One short round with few subscribers: it shows that all works, not how fast."`
}

// check names what makes no sense, and loads in only that are not among all.
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

// comparison is what all runs found.
type comparison struct {
	flags   *roundFlags
	loads   []load
	systems []string // the first one is compared with the others
	started time.Time
	took    time.Duration
	dir     string // for simplechat, if it is built, and its data
	version string // simplechat's
	runs    map[runKey][]*result
	syncs   []time.Duration // that the disk took

	before, beforeVersion string // path and version of the older simplechat, if it is measured too
}

// runKey names the runs of a workload on a system.
type runKey struct{ load, system string }

// choose returns a comparison under the loads that are named, or all.
func (f *roundFlags) choose(only []string, all []load) *comparison {
	if f.Quick {
		f.Rounds, f.Warmup, f.Duration = 1, quickTime/4, quickTime
	}
	cmp := &comparison{flags: f, started: time.Now(), runs: make(map[runKey][]*result)}
	for _, l := range all {
		if len(only) > 0 && !slices.Contains(only, l.name) {
			continue
		}
		l.workload.Warmup, l.workload.Duration = f.Warmup, f.Duration
		if f.Quick {
			l = l.shrunk()
		}
		cmp.loads = append(cmp.loads, l)
	}
	return cmp
}

// prepare builds simplechat unless there is one. The caller calls clean.
func (cmp *comparison) prepare(ctx context.Context) (err error) {
	if cmp.dir, err = os.MkdirTemp("", "chatbench-"); err != nil {
		return err
	}
	if cmp.flags.Server == "" {
		if cmp.flags.Server, err = buildServer(ctx, cmp.dir); err != nil {
			return err
		}
	}
	cmp.version, err = serverVersion(ctx, cmp.flags.Server)
	return err
}

// clean removes what prepare and the servers have made.
func (cmp *comparison) clean() { _ = os.RemoveAll(cmp.dir) }

// measure runs everything in alternation: what the machine does meanwhile hits
// all systems alike.
func (cmp *comparison) measure(ctx context.Context, out *cli.Output) error {
	for round := range cmp.flags.Rounds {
		for _, l := range cmp.loads {
			for i := range cmp.systems {
				name := cmp.systems[(i+round)%len(cmp.systems)]
				if !slices.Contains(l.systems, name) {
					continue
				}
				fmt.Fprintf(out.Stderr, "round %d of %d, %s: %s\n", round+1, cmp.flags.Rounds, l.title(), name)
				r, err := cmp.one(ctx, l, name, out)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", l.title(), name, err)
				}
				key := runKey{l.name, name}
				cmp.runs[key] = append(cmp.runs[key], r)
			}
		}
	}
	cmp.took = time.Since(cmp.started)
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
func (cmp *comparison) one(ctx context.Context, l load, name string, out *cli.Output) (r *result, err error) {
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
	b := newBench(l.workload, child.addr, demoUser)
	b.target = &target{child.pid()}
	b.settle = l.settle
	b.progress = newProgress(out.Stderr)
	r, err = b.execute(ctx)
	b.progress.clear()
	debug.FreeOSMemory() // each run begins with the same memory
	return r, err
}

// faults returns an error if a run of the systems had any.
func (cmp *comparison) faults(systems ...string) error {
	for key, runs := range cmp.runs {
		for _, r := range runs {
			if slices.Contains(systems, key.system) && r.Faults.err() != nil {
				return r.Faults.err()
			}
		}
	}
	return nil
}

// buildServer builds simplechat in dir, without what only debuggers read.
func buildServer(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "simplechat")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "example.com/simplechat/cmd/simplechat") //nolint:gosec // the path is ours
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build simplechat (or name one with --server): %w\n%s", err, text)
	}
	return path, nil
}

// serverVersion asks simplechat.
func serverVersion(ctx context.Context, path string) (string, error) {
	text, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return "", fmt.Errorf("%s version: %w", path, err)
	}
	return strings.TrimSpace(string(text)), nil
}
