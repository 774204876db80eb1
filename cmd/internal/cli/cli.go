// Package cli contains the common parts of the project's commands: signals, flags by
// kong, one line for an error, and the version.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/alecthomas/kong"
)

// Output is where a command writes: results, help and the version to Stdout,
// all else to Stderr.
type Output struct{ Stdout, Stderr io.Writer }

// Main runs a program with the process's arguments and streams, and exits with
// the code that it returns. Its context is done at SIGINT or SIGTERM; the
// second signal ends the process at once.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Run parses args into model, a struct with kong's tags, runs the command that
// they name, and returns the exit code: 2 for arguments that make no sense, 1
// for a command that failed, unless its error is a [kong.ExitCoder] and has another
// one. Commands may ask for the context and for *Output.
func Run(ctx context.Context, model any, args []string, out *Output, options ...kong.Option) int {
	exit := -1
	parser, err := kong.New(model, append([]kong.Option{
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Writers(out.Stdout, out.Stderr),
		kong.Exit(func(code int) { exit = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(out),
	}, options...)...)
	if err != nil {
		panic(err) // a mistake in the struct tags
	}
	if err := checkUTF8(args); err != nil {
		fmt.Fprintf(out.Stderr, "%s: %v\n", parser.Model.Name, err)
		return 2
	}
	command, err := parser.Parse(usual(args))
	if exit >= 0 { // help was asked for, and printed
		return exit
	}
	if err == nil {
		if err := checkVariables(command.Flags()); err != nil {
			fmt.Fprintf(out.Stderr, "%s: %v\n", parser.Model.Name, err)
			return 2
		}
		err = command.Run()
	}
	if err != nil {
		parseError := new(kong.ParseError)
		isParse := errors.As(err, &parseError)
		fmt.Fprintf(out.Stderr, "%s: %v%s\n", parser.Model.Name, err, helpFor(parseError))
		if isParse {
			return 2
		}
		if coded := kong.ExitCoder(nil); errors.As(err, &coded) {
			return coded.ExitCode()
		}
		return 1
	}
	return 0
}

// helpFor returns the part of an error's line that names the help, or nothing where the
// error says by itself what to do.
func helpFor(err *kong.ParseError) string {
	if err.Context == nil {
		return ""
	}
	for _, vague := range []string{"unknown flag", "unexpected argument", "expected "} {
		if strings.HasPrefix(err.Error(), vague) {
			node := err.Context.Model.Node
			if selected := err.Context.Selected(); selected != nil {
				node = selected
			}
			return ": see " + node.FullPath() + " --help"
		}
	}
	return ""
}

// checkUTF8 returns an error if an argument is not UTF-8: kong would replace the bytes
// that are not, so another text would be sent or another file used.
func checkUTF8(args []string) error {
	for i, arg := range args {
		if !utf8.ValidString(arg) {
			return fmt.Errorf("argument %d is not UTF-8: encode it as UTF-8, and rename a file whose name is not UTF-8", i+1)
		}
	}
	return nil
}

// checkVariables returns an error if a variable that sets one of the flags is not UTF-8,
// as [checkUTF8] does for arguments.
func checkVariables(flags []*kong.Flag) error {
	for _, flag := range flags {
		for _, name := range flag.Envs {
			if !utf8.ValidString(os.Getenv(name)) {
				return fmt.Errorf("the value of $%s is not UTF-8: encode it as UTF-8, and rename a file whose name is not UTF-8", name)
			}
		}
	}
	return nil
}

// usual translates what people try first: no argument at all or help for --help,
// "help COMMAND" for "COMMAND --help", and --version for the command.
func usual(args []string) []string {
	switch {
	case len(args) == 0:
		return []string{"--help"}
	case args[0] == "help":
		return append(slices.Clone(args[1:]), "--help")
	case args[0] == "--version":
		return append([]string{"version"}, args[1:]...)
	}
	return args
}

// VersionCmd is the command that prints the version.
type VersionCmd struct{}

// Run prints the program's name, and the versions of its module and of Go.
func (VersionCmd) Run(program *kong.Kong, out *Output) error {
	_, err := fmt.Fprintf(out.Stdout, "%s %s\n", program.Model.Name, Version())
	return err
}

// Version returns the versions of the main module and of Go.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version + " " + info.GoVersion
}
