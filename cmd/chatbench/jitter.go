package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/crowd"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
)

// crowdFlags are the flags of commands with clients that reconnect.
type crowdFlags struct {
	Server  string  `group:"server" type:"path" placeholder:"PATH" help:"simplechat to measure; without it, it is built from this module with go build."`
	Clients int     `group:"crowd" short:"s" default:"10000" placeholder:"N" help:"Clients, each on a connection of its own (${default})."`
	Rate    float64 `group:"load" short:"r" default:"10" placeholder:"N" help:"Messages a second (${default})."`
	Size    int     `group:"load" default:"100" placeholder:"BYTES" help:"Content of a message (${default}, at least 24)."`
}

func (f *crowdFlags) check() error {
	if f.Clients < 1 || f.Rate <= 0 || f.Size < wire.HeadBytes {
		return fmt.Errorf("--clients and --rate must be positive, --size at least %d", wire.HeadBytes)
	}
	return nil
}

// prepare returns simplechat's path and a directory, which cleanup removes.
func (f *crowdFlags) prepare(ctx context.Context) (path, dir string, cleanup func(), err error) {
	if dir, err = os.MkdirTemp("", "chatbench-"); err != nil {
		return "", "", nil, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	if path = f.Server; path == "" {
		path, err = buildServer(ctx, dir)
	}
	return path, dir, cleanup, err
}

// config returns the configuration of a crowd that speaks gRPC.
func (f *crowdFlags) config(addr string, resume bool) crowd.Config {
	return crowd.Config{
		Clients: f.Clients, Addr: addr, Resume: resume, User: bench.DemoUser.User, Password: bench.DemoUser.Password,
		Speak: []crowd.Speech{{Protocol: wire.GRPC, Transport: wire.H2C}},
	}
}

// gatherTime bounds the wait for all clients, or for their messages.
const gatherTime = 2 * time.Minute

// publish sends until ctx is done, and returns a function that waits for the end.
func (f *crowdFlags) publish(ctx context.Context, c *crowd.Crowd) (wait func() error) {
	ended := make(chan error, 1)
	go func() { ended <- c.Publish(ctx, f.Rate, func(uint64) int { return f.Size }) }()
	return func() error { return <-ended }
}

type jitterCmd struct {
	crowdFlags

	Every    time.Duration `group:"load" default:"15s" placeholder:"DURATION" help:"Mean time until a client's connection is cut (${default})."`
	Offline  time.Duration `group:"load" default:"1s" placeholder:"DURATION" help:"Longest time until the client connects again (${default})."`
	Duration time.Duration `group:"load" short:"d" default:"1m" placeholder:"DURATION" help:"Time in which connections are cut and messages sent (${default})."`
}

// Validate implements kong's hook.
func (c *jitterCmd) Validate() error {
	if c.Every <= 0 || c.Offline < 0 || c.Duration <= 0 {
		return errors.New("--every and --duration must be positive, --offline not negative")
	}
	return c.check()
}

// Run measures both systems, and prints the table. It fails if simplechat's clients lost
// a message or got one twice.
func (c *jitterCmd) Run(ctx context.Context, out *cli.Output) error {
	path, _, cleanup, err := c.prepare(ctx)
	if cleanup != nil {
		defer cleanup()
	}
	if err != nil {
		return err
	}
	var table strings.Builder
	tab := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tab, "server\tclients\tcuts\tmessages\tdeliveries\tlost\ttwice\tcaught up p50\tp99\tmax\n")
	var faults error
	for _, name := range []string{ours, grpcGo} {
		r, err := c.measure(ctx, path, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(tab, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", name, c.Clients, r.Cuts, r.Messages, r.Deliveries, r.Lost, r.Twice, shortTimes(r.CaughtUp))
		if name == ours && (r.Lost > 0 || r.Twice > 0) {
			faults = fmt.Errorf("clients of simplechat lost %d deliveries, and got %d twice", r.Lost, r.Twice)
		}
	}
	_ = tab.Flush() // to a string
	if _, err := fmt.Fprint(out.Stdout, table.String()); err != nil {
		return err
	}
	return faults
}

// shortTimes are the cells of a table.
func shortTimes(t crowd.Times) string {
	if t.Count == 0 {
		return "–\t–\t–"
	}
	return fmt.Sprintf("%v\t%v\t%v", human.Round(t.P50), human.Round(t.P99), human.Round(t.Max))
}

// measure runs the crowd against a system.
func (c *jitterCmd) measure(ctx context.Context, path, name string) (crowd.Result, error) {
	server, err := systems[name].start(ctx, path, "")
	if err != nil {
		return crowd.Result{}, err
	}
	defer server.stop()
	config := c.config(server.addr, name == ours)
	config.Every, config.Offline = c.Every, c.Offline
	living, stop := context.WithCancel(ctx)
	clients := crowd.Start(living, config)
	defer clients.Wait()
	defer stop()
	gathering, enough := context.WithTimeout(ctx, gatherTime)
	defer enough()
	if err := clients.AwaitAll(gathering); err != nil {
		return crowd.Result{}, err
	}
	sending, done := context.WithTimeout(ctx, c.Duration)
	defer done()
	if err := c.publish(sending, clients)(); err != nil {
		return crowd.Result{}, err
	}
	if name == ours { // clients of the others never get the missed ones
		catching, enough := context.WithTimeout(ctx, gatherTime)
		defer enough()
		_ = clients.AwaitCaughtUp(catching) // missing messages are in the result
	}
	return clients.Result(), ctx.Err()
}

type restartCmd struct {
	crowdFlags

	Kill bool `group:"load" help:"End the server with SIGKILL instead of SIGTERM."`
}

// Validate implements kong's hook.
func (c *restartCmd) Validate() error { return c.check() }

// Run restarts a server once, and prints how long the clients took to return. It fails if
// a client does not return, lost a message or got one twice.
func (c *restartCmd) Run(ctx context.Context, out *cli.Output) error {
	path, dir, cleanup, err := c.prepare(ctx)
	if cleanup != nil {
		defer cleanup()
	}
	if err != nil {
		return err
	}
	system := systems[syncAlways]
	server, err := system.start(ctx, path, dir)
	if err != nil {
		return err
	}
	defer func() { server.stop() }()
	living, stop := context.WithCancel(ctx)
	clients := crowd.Start(living, c.config(server.addr, true))
	defer clients.Wait()
	defer stop()
	gathering, enough := context.WithTimeout(ctx, gatherTime)
	defer enough()
	if err := clients.AwaitAll(gathering); err != nil {
		return err
	}
	sending, end := context.WithCancel(ctx)
	wait := c.publish(sending, clients)
	defer end()
	if server, err = c.again(ctx, system, path, dir, server, clients); err != nil {
		return err
	}
	returning, enough2 := context.WithTimeout(ctx, gatherTime)
	defer enough2()
	if err := clients.AwaitBack(returning); err != nil {
		return err
	}
	end()
	if err := wait(); err != nil {
		return err
	}
	if err := clients.AwaitCaughtUp(returning); err != nil {
		return err
	}
	r := clients.Result()
	if _, err := fmt.Fprintf(out.Stdout, "%d clients were back: half of them %v after the signal, 95 %% %v, 99 %% %v, all %v\n%d messages, %d deliveries, %d lost, %d twice\n",
		c.Clients, human.Round(r.Back.P50), human.Round(r.Back.P95), human.Round(r.Back.P99), human.Round(r.Back.Max), r.Messages, r.Deliveries, r.Lost, r.Twice); err != nil {
		return err
	}
	if r.Lost > 0 || r.Twice > 0 {
		return fmt.Errorf("clients lost %d deliveries, and got %d twice", r.Lost, r.Twice)
	}
	return nil
}

// again ends the server, and starts another one at the same address.
func (c *restartCmd) again(ctx context.Context, system system, path, dir string, server *child, clients *crowd.Crowd) (*child, error) {
	addr, signal := server.addr, syscall.SIGTERM
	if c.Kill {
		signal = syscall.SIGKILL
	}
	clients.Mark()
	if err := server.end(signal); err != nil && !c.Kill {
		return server, err
	}
	next, err := system.relaunch(ctx, path, dir, addr)
	if err != nil {
		return server, err
	}
	return next, nil
}
