// Command simplechat runs the chat service of Qt's gRPC chat example for every
// client: gRPC, gRPC-Web, Connect and curl.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

func main() {
	// The first signal ends the server in good order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	ignoreEmptyVariables()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// ignoreEmptyVariables makes SIMPLECHAT_USERS= mean the default, as those who
// write environment files expect.
func ignoreEmptyVariables() {
	for _, variable := range os.Environ() {
		if name, empty := strings.CutSuffix(variable, "="); empty && strings.HasPrefix(name, "SIMPLECHAT_") {
			_ = os.Unsetenv(name) // it is there
		}
	}
}

type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run the server."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

// run is the program: it returns the exit code. Ready-made output (help, the
// version) goes to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	exit := -1
	parser, err := kong.New(&cli{},
		kong.Name("simplechat"),
		kong.Description("A chat server for Qt's gRPC chat example, gRPC, gRPC-Web, Connect and curl."),
		kong.DefaultEnvars("SIMPLECHAT"),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&output{stdout: stdout, stderr: stderr}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "history", Title: "History:"},
			{Key: "limits", Title: "Limits:"},
			{Key: "web", Title: "Browsers and TLS:"},
			{Key: "log", Title: "Log:"},
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
		fmt.Fprintf(stderr, "simplechat: %v\n", err)
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
	_, err := fmt.Fprintf(out.stdout, "simplechat %s\n", version())
	return err
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version + " " + info.GoVersion
}
