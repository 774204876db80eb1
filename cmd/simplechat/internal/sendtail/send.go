package sendtail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/term"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/cli"
	"example.com/simplechat/cmd/simplechat/internal/login"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// SendCmd sends messages.
type SendCmd struct {
	login.Flags `embed:""`

	Text    []string      `arg:"" optional:"" help:"Text to send; several words are joined by spaces. - reads standard input, as does no text where that is no terminal: each line is a message."`
	Whole   bool          `env:"-" help:"Send all of standard input as one message."`
	Image   string        `env:"-" placeholder:"FILE" help:"Send an image file, - for standard input. Qt's client displays PNG only."`
	Timeout time.Duration `default:"1m" env:"SIMPLECHAT_SEND_TIMEOUT" placeholder:"DURATION" help:"Give up when nothing was acknowledged for this long (${default})."`
	JSON    bool          `name:"json" env:"-" help:"Print where each message was stored, as JSON on a line."`
}

// Help implements kong's hook.
func (*SendCmd) Help() string {
	return `Examples:

  simplechat send "Hello, everybody"
  simplechat send --image photo.png
  make 2>&1 | simplechat send            # each line is a message, in order
  git log -1 | simplechat send --whole   # all of it is one message

A message is sent again until the server has acknowledged or refused it, and stored once. Empty lines are left out. Exit codes: 1 a message was refused, 2 usage, 3 no server, 4 wrong credentials, 5 a message may have been stored or not.`
}

// Validate implements kong's hook.
func (c *SendCmd) Validate() error {
	switch {
	case c.Image != "" && (len(c.Text) > 0 || c.Whole):
		return errors.New("--image sends a file alone: give no text and no --whole")
	case c.Whole && len(c.Text) > 0 && !c.readsInput():
		return errors.New("--whole is for standard input: give no text, or put it in quotes instead")
	case c.Timeout <= 0:
		return fmt.Errorf("--timeout %v: it must be positive", c.Timeout)
	}
	return nil
}

// readsInput reports whether the text is what standard input has.
func (c *SendCmd) readsInput() bool {
	return len(c.Text) == 0 || len(c.Text) == 1 && c.Text[0] == "-"
}

// Run sends what the arguments say.
func (c *SendCmd) Run(ctx context.Context, out *cli.Output) error {
	isMany := c.Image == "" && !c.Whole && c.readsInput()
	if isMany && len(c.Text) == 0 && term.IsTerminal(int(os.Stdin.Fd())) {
		return login.Exit(login.ExitUsage, errors.New("nothing to send: give a text, or - to type messages, one a line"))
	}
	var msg *chatpb.ChatMessage
	if !isMany {
		var err error
		if msg, err = c.message(); err != nil {
			return login.Exit(login.ExitUsage, err)
		}
	}
	notices := newNotices(out.Stderr)
	client, err := c.Client(ctx, chatclient.WithRetryObserver(notices.retry))
	if err != nil {
		return err
	}
	defer client.Close()
	if isMany {
		return newPipe(c, client, os.Stdin, out, notices).run(ctx)
	}
	sending, cancel := context.WithTimeoutCause(ctx, c.Timeout, errNoAnswer)
	defer cancel()
	sent, err := client.Send(sending, msg, "")
	switch {
	case err != nil && ctx.Err() != nil && !errors.Is(err, chatclient.ErrUncertain):
		return login.Exit(login.ExitInterrupted, errors.New("interrupted: the message was not stored"))
	case err != nil:
		return login.Explain(err)
	case c.JSON:
		_, err = out.Stdout.Write(appendJSON(nil, newSentLine(0, sent)))
	}
	return err
}

// errNoAnswer is why a send is given up.
var errNoAnswer = errors.New("nothing was acknowledged in time (--timeout)")

// message returns the one message that is to be sent.
func (c *SendCmd) message() (*chatpb.ChatMessage, error) {
	if c.Image != "" {
		return readImage(c.Image)
	}
	text := []byte(strings.Join(c.Text, " "))
	if c.Whole {
		all, err := readAll(os.Stdin, "standard input")
		if err != nil {
			return nil, err
		}
		text = trimEnd(all)
	}
	if len(text) == 0 {
		return nil, errors.New("the text is empty: nothing was sent")
	}
	return &chatpb.ChatMessage{Content: text, Type: chatpb.ChatMessage_Text}, nil
}

// readImage returns the message of an image file.
func readImage(path string) (*chatpb.ChatMessage, error) {
	file := os.Stdin
	if path != "-" {
		var err error
		if file, err = os.Open(path); err != nil { //nolint:gosec // the user names it
			return nil, fmt.Errorf("--image: %w", err)
		}
		defer file.Close() //nolint:errcheck // it was only read
	}
	content, err := readAll(file, path)
	if err != nil {
		return nil, fmt.Errorf("--image: %w", err)
	}
	if len(content) == 0 {
		return nil, fmt.Errorf("--image: %s is empty: nothing was sent", path)
	}
	kind := mime.TypeByExtension(strings.ToLower(filepath.Ext(path)))
	if !strings.HasPrefix(kind, "image/") && !strings.HasPrefix(http.DetectContentType(content), "image/") {
		return nil, fmt.Errorf("--image: %s is not an image: give a PNG, JPEG, GIF or WebP file", path)
	}
	return &chatpb.ChatMessage{Content: content, Type: chatpb.ChatMessage_Image}, nil
}

// readAll reads what a message can hold.
func readAll(r io.Reader, name string) ([]byte, error) {
	all, err := io.ReadAll(io.LimitReader(r, chatsvc.MaxContentCeiling+1))
	if err == nil && len(all) > chatsvc.MaxContentCeiling {
		err = fmt.Errorf("%s has more than %d bytes, and no server takes that as one message", name, chatsvc.MaxContentCeiling)
	}
	return all, err
}

// trimEnd drops the end of the last line.
func trimEnd(text []byte) []byte {
	if n := len(text); n > 0 && text[n-1] == '\n' {
		text = text[:n-1]
		if n > 1 && text[n-2] == '\r' {
			text = text[:n-2]
		}
	}
	return text
}
