// Command chatbench measures a SimpleChat server under load, and compares it
// with its peers: the same chat over connect-go and grpc-go as one would write
// it by the book, a core NATS server, and the floor, which is one write per
// delivery.
//
//	chatbench run --addr 127.0.0.1:65002 --subscribers 1000 --rate 1000
//	chatbench compare
//
// Publishers send numbered messages that carry the time when they were due, so
// that a run finds every message that was lost, came twice or came out of order,
// and measures latency from when a message should have been sent. A run that
// lost something says so first, and exits with 1.
//
// The generator shares the machine with the server, so its wire path is bare:
// frames by hand, one goroutine for each connection, and of a message nothing
// is decoded but its number and time.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal kills
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

type cli struct {
	Run     runCmd     `cmd:"" help:"Load a running server, and report what came of it."`
	Compare compareCmd `cmd:"" help:"Run the same workloads on simplechat and on its peers, and report the ratios."`
	Peer    peerCmd    `cmd:"" hidden:"" help:"Run a peer that compare measures."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// run is the program: it returns the exit code. Results go to stdout, progress
// and errors to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	exit := -1
	parser, err := kong.New(&cli{},
		kong.Name("chatbench"),
		kong.Description("Measure a SimpleChat server under load, and compare it with its peers."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&output{stdout: stdout, stderr: stderr}),
		kong.Vars{"loads": loadNames(), "slowRate": strconv.Itoa(defaultSlowRate)},
		kong.ExplicitGroups([]kong.Group{
			{Key: "server", Title: "The server:"},
			{Key: "crowd", Title: "Subscribers:"},
			{Key: "load", Title: "Load:"},
			{Key: "report", Title: "Report:"},
		}),
	)
	if err != nil {
		panic(err) // a mistake in the struct tags
	}
	command, err := parser.Parse(args)
	if exit >= 0 { // help was asked for, and printed
		return exit
	}
	if err == nil {
		err = command.Run()
	}
	if err != nil {
		fmt.Fprintf(stderr, "chatbench: %v\n", err)
		if parseError := new(kong.ParseError); errors.As(err, &parseError) {
			return 2
		}
		return 1
	}
	return 0
}

type output struct{ stdout, stderr io.Writer }

type versionCmd struct{}

// Run prints the version of the module and of Go.
func (versionCmd) Run(out *output) error {
	_, err := fmt.Fprintf(out.stdout, "chatbench %s\n", version())
	return err
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version + " " + info.GoVersion
}
