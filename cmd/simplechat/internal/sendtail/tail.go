package sendtail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/login"
)

// defaultLast is how many messages tail begins with.
const defaultLast = 10

// TailCmd prints messages.
type TailCmd struct {
	login.Flags `embed:""`

	Number     *uint64              `name:"number" short:"n" xor:"from" env:"-" placeholder:"N" help:"Begin with the last N messages (10)."`
	From       *chatclient.Position `xor:"from" env:"-" placeholder:"N|end" help:"Begin with message number N, which may be N@EPOCH, or all, or end: with what comes from now on."`
	NoFollow   bool                 `env:"-" help:"End with the last message that the server has now."`
	JSON       *bool                `name:"json" env:"-" negatable:"" help:"Print each message as JSON on a line, as is done where standard output is no terminal; --no-json prints readable lines."`
	SaveImages string               `env:"-" type:"path" placeholder:"DIR" help:"Save images in this directory, which is made if it is missing. No file is overwritten."`
	State      string               `env:"-" type:"path" placeholder:"FILE" help:"Keep the position in this file, and continue from there in the next run. -n or --from say where the first run begins."`
	Exec       string               `env:"-" placeholder:"COMMAND" help:"Run this shell command for each message instead of printing it: with the content on standard input, and CHAT_OFFSET, CHAT_EPOCH, CHAT_TIMESTAMP, CHAT_FROM, CHAT_TYPE and CHAT_FILE (of --save-images) in the environment. If it fails, tail ends."`
	Timeout    time.Duration        `default:"10s" env:"SIMPLECHAT_TAIL_TIMEOUT" placeholder:"DURATION" help:"Give up if no server answers at the start for this long, with --no-follow also later; 0 for never (${default}). A connection that is lost later is resumed."`
}

// Help implements kong's hook.
func (*TailCmd) Help() string {
	return `Examples:

  simplechat tail                                # the last messages, then new ones
  simplechat tail -n 100 --no-follow | jq -r .text
  simplechat tail --state seen --from all >> chat.jsonl
  simplechat tail --state bot --from end --exec 'grep -q "^!ping" && simplechat send pong || true'
  simplechat tail --save-images pictures

With --state each message is printed or handled exactly once over clean ends (also by Ctrl+C and SIGTERM), and at least once after a crash. Exit codes: 1 a command failed or the server refused, 2 usage, 3 no server, 4 wrong credentials.`
}

// Validate implements kong's hook.
func (c *TailCmd) Validate() error {
	if c.Exec != "" && c.JSON != nil {
		return errors.New("--exec prints nothing itself: give no --json")
	}
	if c.Timeout < 0 {
		return fmt.Errorf("--timeout %v: it must not be negative, 0 for never", c.Timeout)
	}
	return nil
}

// position returns where to begin without a state.
func (c *TailCmd) position() chatclient.Position {
	switch {
	case c.From != nil:
		return *c.From
	case c.Number != nil:
		return chatclient.Last(*c.Number)
	default:
		return chatclient.Last(defaultLast)
	}
}

// Run prints messages until ctx is done.
func (c *TailCmd) Run(ctx context.Context, out *cli.Output) error {
	from, state := c.position(), &state{}
	if c.State != "" {
		var err error
		if state, err = openState(c.State); err != nil {
			return fmt.Errorf("--state: %w", err)
		}
		defer state.close()
		if stored, ok := state.stored(); ok {
			from = stored
		}
	}
	target, err := c.newTarget(out)
	if err != nil {
		return err
	}
	notices := newNotices(out.Stderr)
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := newPatience(c.Timeout, !c.NoFollow, func() { cancel(errNoServer) })
	defer patience.stop()
	client, err := c.Client(ctx, chatclient.WithRetryObserver(func(r chatclient.Retry) {
		notices.retry(r)
		patience.failed()
	}))
	if err != nil {
		return err
	}
	defer client.Close()
	patience.failed() // from now on
	watchClosed(out.Stdout, func() { cancel(errClosed) })
	t := &tail{client: client, noFollow: c.NoFollow, target: target, state: state, notices: notices, patience: patience}
	err = t.run(waiting, from)
	if errors.Is(context.Cause(waiting), errNoServer) {
		return login.Exit(login.ExitUnreachable, errNoServer) // a notice has told the reason
	}
	isEnded := ctx.Err() != nil || errors.Is(context.Cause(waiting), errClosed)
	if isEnded && errors.Is(err, waiting.Err()) {
		return nil // that is how a person or the reader of the output ends it
	}
	return login.Explain(err)
}

// errNoServer is why tail gives up.
var errNoServer = errors.New("no server has answered in time (--timeout): check --server, and whether the server runs")

// errClosed is why tail ends without a word.
var errClosed = errors.New("nobody reads standard output")

// newTarget returns what handles the messages.
func (c *TailCmd) newTarget(out *cli.Output) (target, error) {
	var images *images
	if c.SaveImages != "" {
		var err error
		if images, err = openImages(c.SaveImages); err != nil {
			return nil, fmt.Errorf("--save-images: %w", err)
		}
	}
	switch {
	case c.Exec != "":
		return &executor{command: c.Exec, images: images, out: out}, nil
	case c.JSON != nil && *c.JSON || c.JSON == nil && !isTerminal(out.Stdout):
		return newPrinter(out.Stdout, appendMessageJSON, images), nil
	default:
		return newPrinter(out.Stdout, appendMessageText, images), nil
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
