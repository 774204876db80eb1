package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/crowd"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
)

type soakCmd struct {
	Server   string        `group:"server" type:"path" placeholder:"PATH" help:"simplechat to measure; without it, it is built from this module with go build."`
	Retain   string        `group:"server" default:"64MiB" placeholder:"SIZE" help:"History that it keeps (${default}), small enough that the load soon fills it."`
	Restart  time.Duration `group:"server" default:"20m" placeholder:"DURATION" help:"Time between restarts, every other one by SIGKILL; 0 for none (${default})."`
	Backup   time.Duration `group:"server" default:"10m" placeholder:"DURATION" help:"Time between backups; 0 for none (${default})."`
	Clients  int           `group:"crowd" short:"s" default:"500" placeholder:"N" help:"Clients that resume, over all protocols (${default})."`
	Slow     int           `group:"crowd" default:"10" placeholder:"N" help:"Further clients, which read slowly (${default})."`
	Every    time.Duration `group:"crowd" default:"30s" placeholder:"DURATION" help:"Mean time until a client's connection is cut (${default})."`
	Rate     float64       `group:"load" short:"r" default:"50" placeholder:"N" help:"Messages a second, over all protocols (${default}); every hundredth is an image of 256 KiB."`
	Duration time.Duration `group:"load" short:"d" default:"2h" placeholder:"DURATION" help:"Time of the whole load (${default})."`
	Settle   time.Duration `group:"report" default:"15m" placeholder:"DURATION" help:"Time before samples count (${default})."`
	Sample   time.Duration `group:"report" default:"10s" placeholder:"DURATION" help:"Time between samples (${default})."`
	Out      string        `group:"report" type:"path" placeholder:"FILE.md" help:"Write the report there."`
	Plot     string        `group:"report" type:"path" placeholder:"FILE.svg" help:"Draw the samples there."`
}

// Validate implements kong's hook.
func (c *soakCmd) Validate() error {
	if c.Clients < 1 || c.Rate <= 0 || c.Every <= 0 || c.Duration <= 0 || c.Sample <= 0 {
		return errors.New("--clients and --rate must be positive, and --every, --duration and --sample too")
	}
	if c.Slow < 0 || c.Restart < 0 || c.Backup < 0 || c.Settle < 0 {
		return errors.New("--slow, --restart, --backup and --settle must not be negative")
	}
	return nil
}

// soakSpeeches are the protocols of a soak's clients.
var soakSpeeches = []crowd.Speech{
	{Protocol: wire.GRPC, Transport: wire.H2C}, {Protocol: wire.GRPCWeb, Transport: wire.HTTP1},
	{Protocol: wire.Connect, Transport: wire.H2C}, {Protocol: wire.ConnectJSON, Transport: wire.HTTP1},
	{Protocol: wire.NDJSON, Transport: wire.H2C}, {Protocol: wire.NDJSON, Transport: wire.HTTP1},
}

// Run loads a server for a long time, and prints whether its memory, descriptors,
// goroutines and files grow. It fails if a client lost a message or got one twice. Growth
// is only reported in the table.
func (c *soakCmd) Run(ctx context.Context, out *cli.Output) error {
	dir, err := os.MkdirTemp("", "chatbench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := c.Server
	if path == "" {
		if path, err = buildServer(ctx, dir); err != nil {
			return err
		}
	}
	ops, err := freePort()
	if err != nil {
		return err
	}
	s := &soak{
		soakCmd: c, path: path, dir: filepath.Join(dir, "data"), backups: dir,
		flags:   []string{"--ops-listen", ops, "--retain-bytes", c.Retain},
		began:   time.Now(),
		sampler: newSampler("http://"+ops+"/metrics", filepath.Join(dir, "data"), c.Settle.Hours()),
	}
	if s.server, err = systems[syncAlways].start(ctx, path, s.dir, s.flags...); err != nil {
		return err
	}
	result, err := s.perform(ctx)
	s.server.stop()
	if err != nil {
		return err
	}
	return s.report(out, result)
}

// report prints and writes the results of a soak.
func (s *soak) report(out *cli.Output, r crowd.Result) error {
	text := fmt.Sprintf("%d messages to %d clients in %v: %d deliveries, %d lost, %d twice; %d connections were cut, %d restarts, %d backups, %d samples\n\n%s",
		r.Messages, s.Clients, time.Since(s.began).Round(time.Second), r.Deliveries, r.Lost, r.Twice, r.Cuts, s.restarts, s.backed, len(s.sampler.trends[0].Hours), report.Trends(s.sampler.trends))
	if _, err := io.WriteString(out.Stdout, text); err != nil {
		return err
	}
	if s.Plot != "" {
		if err := report.PlotTrends(s.Plot, s.sampler.trends); err != nil {
			return fmt.Errorf("plot: %w", err)
		}
	}
	if s.Out != "" {
		head := "# A server under mixed load for a long time\n\nWritten by `chatbench soak`. The error of a slope assumes independent samples. They are not quite independent, so the true error is larger.\n\n"
		if err := os.WriteFile(s.Out, []byte(head+text), 0o644); err != nil { //nolint:gosec // a report is for everybody
			return fmt.Errorf("report: %w", err)
		}
	}
	if r.Lost > 0 || r.Twice > 0 {
		return fmt.Errorf("clients lost %d deliveries, and got %d twice", r.Lost, r.Twice)
	}
	return nil
}

// soak is a run of the command.
type soak struct {
	*soakCmd

	path, dir, backups string // paths of simplechat, its data, and backups
	flags              []string
	began              time.Time
	sampler            *sampler

	server           *child // only restart changes it
	restarts, backed int
}

// perform runs the load to its end.
func (s *soak) perform(ctx context.Context) (crowd.Result, error) {
	living, stop := context.WithCancel(ctx)
	addr := s.server.addr
	clients := crowd.Start(living, crowd.Config{
		Clients: s.Clients, Addr: addr, Speak: soakSpeeches, AnySend: true, Resume: true,
		Every: s.Every, Offline: time.Second, User: bench.DemoUser.User, Password: bench.DemoUser.Password,
	})
	defer clients.Wait()
	defer stop()
	gathering, enough := context.WithTimeout(ctx, gatherTime)
	defer enough()
	if err := clients.AwaitAll(gathering); err != nil {
		return crowd.Result{}, err
	}
	loading, done := context.WithTimeout(ctx, s.Duration)
	defer done()
	group, loading := errgroup.WithContext(loading)
	group.Go(func() error { return clients.Publish(loading, s.Rate, sizeOf) })
	group.Go(func() error { return every(loading, s.Sample, s.sampler.take) })
	group.Go(func() error { return every(loading, s.Restart, s.restart) })
	group.Go(func() error { return every(loading, s.Backup, s.backup) })
	for range s.Slow {
		group.Go(func() error { return readSlowly(loading, addr) })
	}
	if err := group.Wait(); err != nil {
		return crowd.Result{}, err
	}
	catching, enough2 := context.WithTimeout(ctx, gatherTime)
	defer enough2()
	_ = clients.AwaitCaughtUp(catching) // missing messages are in the result
	return clients.Result(), ctx.Err()
}
