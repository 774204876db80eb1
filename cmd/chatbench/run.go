package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/report"
	"example.com/simplechat/cmd/internal/cli"
)

// serverFlags name a running server.
type serverFlags struct {
	Addr     string `group:"server" default:"127.0.0.1:65002" placeholder:"HOST:PORT" help:"Address of the server (${default})."`
	User     string `group:"server" default:"user1" help:"Name to log in with (${default})."`
	Password string `group:"server" default:"qwerty" help:"Password to log in with (${default})."`
}

type runCmd struct {
	serverFlags

	PID    int           `group:"server" name:"pid" placeholder:"PID" help:"The server's process, to measure its CPU and memory."`
	Settle time.Duration `group:"server" default:"1s" placeholder:"DURATION" help:"Rest before the memory of idle subscribers is measured (${default})."`

	Protocol    string `group:"crowd" enum:"grpc,grpc-web,connect,connect-json,ndjson,nats,floor" default:"grpc" placeholder:"PROTOCOL" help:"grpc, grpc-web, connect, connect-json or ndjson (${default}); nats for a core NATS server, floor for one write per delivery (see compare)."`
	Transport   string `group:"crowd" enum:"h2c,http1,tls" default:"h2c" placeholder:"TRANSPORT" help:"h2c, http1 or tls, which is HTTP/2 too (${default})."`
	Subscribers int    `group:"crowd" short:"s" default:"1000" placeholder:"N" help:"Streams to open (${default})."`
	Connections int    `group:"crowd" short:"c" placeholder:"N" help:"Connections that they share; one each unless set, and over HTTP/1.1."`
	History     string `group:"crowd" enum:"end,all,replay" default:"end" placeholder:"WHERE" help:"end: only new messages; all: the retained history first; replay: as much of it as the server sends to clients that ask for no offset (${default})."`
	Stuck       int    `group:"crowd" placeholder:"PERCENT" help:"Subscribers that stop reading after their first batch."`
	Slow        int    `group:"crowd" placeholder:"PERCENT" help:"Subscribers that read slowly."`
	SlowRate    int    `group:"crowd" default:"${slowRate}" placeholder:"BYTES" help:"Bytes a second that each connection of these reads (${default})."`

	Toggling   int           `group:"crowd" placeholder:"N" help:"Further subscribers that close and reopen their HTTP/2 windows again and again; they are counted apart."`
	ToggleTime time.Duration `group:"crowd" default:"${toggleTime}" placeholder:"DURATION" help:"How long these windows stay closed, and then open (${default})."`

	Publishers int           `group:"load" short:"p" default:"4" placeholder:"N" help:"Connections to send on (${default}); 0: subscribers stay idle."`
	Window     int           `group:"load" short:"w" default:"60" placeholder:"N" help:"Sends in flight on each (${default}); over HTTP/1.1 each has a connection of its own."`
	Rate       float64       `group:"load" short:"r" default:"0" placeholder:"N" help:"Messages a second to offer in total; 0: send the next one when one is answered (${default})."`
	Size       int           `group:"load" default:"100" placeholder:"BYTES" help:"Content of a message (${default})."`
	Warmup     time.Duration `group:"load" default:"1s" placeholder:"DURATION" help:"Load that is not measured (${default})."`
	Duration   time.Duration `group:"load" short:"d" default:"5s" placeholder:"DURATION" help:"Load that is measured (${default})."`

	JSON bool   `group:"report" name:"json" help:"Print the result as JSON."`
	Plot string `group:"report" type:"path" placeholder:"FILE.svg" help:"Draw the distribution of latencies, and throughput over time."`
}

func (c *runCmd) workload() bench.Workload {
	return bench.Workload{
		Protocol: c.Protocol, Transport: c.Transport,
		Subscribers: c.Subscribers, Connections: c.Connections,
		Publishers: c.Publishers, Window: c.Window, Rate: c.Rate, Size: c.Size,
		Warmup: c.Warmup, Duration: c.Duration, History: c.History,
		Stuck: c.Stuck, Slow: c.Slow, SlowRate: c.SlowRate, Toggling: c.Toggling, ToggleTime: c.ToggleTime,
	}.Normalized()
}

// Validate implements kong's hook.
func (c *runCmd) Validate() error {
	if c.PID < 0 || c.Settle < 0 {
		return errors.New("--pid and --settle must not be negative")
	}
	return c.workload().Check()
}

// Run loads the server, and reports. It returns an error if the server lost
// something.
func (c *runCmd) Run(ctx context.Context, out *cli.Output) error {
	b := bench.New(c.workload(), c.Addr, bench.Login{User: c.User, Password: c.Password})
	b.Settle = c.Settle
	b.Progress = bench.NewProgress(out.Stderr)
	if c.PID > 0 {
		b.Process = &bench.Process{PID: c.PID}
	}
	r, err := b.Execute(ctx)
	b.Progress.Clear()
	if err != nil {
		return err
	}
	if err := c.report(r, out); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return r.Faults.Err()
}

func (c *runCmd) report(r *bench.Result, out *cli.Output) error {
	if c.Plot != "" {
		if err := report.PlotRun(c.Plot, r); err != nil {
			return err
		}
	}
	if c.JSON {
		encoder := json.NewEncoder(out.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return report.Table(out.Stdout, r)
}
