// Command simplechat runs the chat service of Qt's gRPC chat example for every
// client: gRPC, gRPC-Web, Connect and curl.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/sendtail"
)

func main() {
	ignoreEmptyVariables()
	if err := readFileVariables(); err != nil {
		fmt.Fprintf(os.Stderr, "simplechat: %v\n", err)
		os.Exit(2)
	}
	cli.Main(run)
}

// ignoreEmptyVariables makes SIMPLECHAT_USERS= mean the default, as authors of
// environment files expect.
func ignoreEmptyVariables() {
	for _, variable := range os.Environ() {
		if name, empty := strings.CutSuffix(variable, "="); empty && strings.HasPrefix(name, "SIMPLECHAT_") {
			_ = os.Unsetenv(name) // the variable exists
		}
	}
}

type commands struct {
	Serve      serveCmd          `cmd:"" help:"Run the server."`
	Check      checkCmd          `cmd:"" help:"Look at all that serve would use with the same flags, without serving."`
	Health     healthCmd         `cmd:"" help:"Ask a server on this machine whether it is ready."`
	Log        logCmd            `cmd:"" help:"Check, copy, move and repair what a server has stored."`
	Chat       chatCmd           `cmd:"" help:"Take part in the conversation, on the whole screen of a terminal."`
	Send       sendtail.SendCmd  `cmd:"" help:"Send a text, an image, or each line of standard input."`
	Tail       sendtail.TailCmd  `cmd:"" help:"Print messages, or run a command for each: the last ones, then new ones."`
	Users      usersCmd          `cmd:"" help:"Add, change, list and remove users, and tokens for programs. A server may run."`
	Completion cli.CompletionCmd `cmd:"" help:"Print the completion for a shell: bash, zsh or fish."`
	Complete   cli.CompleteCmd   `cmd:"" hidden:"" passthrough:""`
	Version    cli.VersionCmd    `cmd:"" help:"Print the version."`
}

// run is the program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return cli.Run(ctx, &commands{}, args, &cli.Output{Stdout: stdout, Stderr: stderr},
		kong.Name("simplechat"),
		kong.Description("A chat server for Qt's gRPC chat example, gRPC, gRPC-Web, Connect and curl."),
		kong.DefaultEnvars("SIMPLECHAT"),
		durationMapper(),
		kong.ExplicitGroups([]kong.Group{
			{Key: "server", Title: "Server and user:"},
			{Key: "storage", Title: "Storage:"},
			{Key: "history", Title: "History:"},
			{Key: "limits", Title: "Limits:"},
			{Key: "web", Title: "Browsers and TLS:"},
			{Key: "ops", Title: "Operations:"},
			{Key: "log", Title: "Log:"},
		}),
	)
}
