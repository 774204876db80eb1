// Command chatbench measures a SimpleChat server under load, and compares it with its
// peers: the same chat over connect-go and grpc-go in their usual style, a core NATS
// server, and the floor, which is one write per delivery. It also measures the cost of
// messages on the disk instead of in memory, a server with a long history, the cost of a
// few slow clients to the others, and the return of clients that have lost their
// connections.
//
//	chatbench run --addr 127.0.0.1:65002 --subscribers 1000 --rate 1000
//	chatbench compare
//	chatbench storage
//	chatbench slow
//	chatbench jitter
//	chatbench restart
//	chatbench soak
//	chatbench pipe --addr 127.0.0.1:65002
//
// Publishers send numbered messages that contain the time when they were due. So a run
// finds every message that is lost, duplicate or out of order, and measures latency from
// the time when a message should have been sent. A run that lost messages reports that
// first, and exits with 1.
//
// The generator shares the machine with the server, so its own work must be small: it
// writes frames itself, uses one goroutine for each connection, and decodes only the
// number and the time of a message.
package main

import (
	"context"
	"io"
	"strconv"

	"github.com/alecthomas/kong"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/peer"
	"example.com/simplechat/cmd/internal/cli"
)

func main() { cli.Main(run) }

type commands struct {
	Run     runCmd         `cmd:"" help:"Load a running server, and report the results."`
	Compare compareCmd     `cmd:"" help:"Run the same workloads on simplechat and on its peers, and report the ratios."`
	Storage storageCmd     `cmd:"" help:"Run the same workloads on simplechat with its messages on the disk and in memory, measure it with a history of 2 million messages, and report what is required and what was reached."`
	Slow    slowCmd        `cmd:"" help:"Measure what clients that close and reopen their windows cost the others, and report what is required and what was reached."`
	Jitter  jitterCmd      `cmd:"" help:"Cut the connections of a crowd again and again, and report what its clients lose and how long they take to catch up, on simplechat and on grpc-go."`
	Restart restartCmd     `cmd:"" help:"Restart simplechat under a crowd, and report how long its clients take to return."`
	Soak    soakCmd        `cmd:"" help:"Load simplechat for a long time over all protocols, with restarts, backups and slow readers, and report whether its memory, descriptors, goroutines and files grow."`
	Pipe    pipeCmd        `cmd:"" help:"Send many messages in each of a few requests, and report how many a running server stores in a second."`
	Peer    peer.Cmd       `cmd:"" hidden:"" help:"Run a peer that compare measures."`
	Version cli.VersionCmd `cmd:"" help:"Print the version."`
}

// run is the program: it returns the exit code. Results go to stdout, progress
// and errors to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, &commands{}, args, &cli.Output{Stdout: stdout, Stderr: stderr},
		kong.Name("chatbench"),
		kong.Description("Measure a SimpleChat server under load, and compare it with its peers."),
		kong.Vars{"loads": loadNames(loads()), "storageLoads": loadNames(storageLoads()), "slowLoads": loadNames(slowLoads()), "slowRate": strconv.Itoa(bench.DefaultSlowRate), "toggleTime": bench.DefaultToggleTime.String()},
		kong.ExplicitGroups([]kong.Group{
			{Key: "server", Title: "The server:"},
			{Key: "crowd", Title: "Subscribers:"},
			{Key: "load", Title: "Load:"},
			{Key: "report", Title: "Report:"},
		}),
	)
}
