package login

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"example.com/simplechat/cmd/internal/cli"
)

// maxName bounds the name that is typed, in bytes.
const maxName = 1024

// errNoTerminal means that no terminal exists on which to ask.
var errNoTerminal = errors.New("there is no terminal to ask on")

// ask asks for the password of user, and for the user's name if that is empty. It uses
// the process's terminal, because standard input may contain the messages to send and
// standard error may be a file.
func ask(ctx context.Context, user string) (name, password string, err error) {
	terminal, w, err := openTerminal()
	if err != nil || !term.IsTerminal(int(terminal.Fd())) {
		if terminal != nil {
			_ = terminal.Close() // the file is not a terminal
		}
		return "", "", errNoTerminal
	}
	defer terminal.Close() //nolint:errcheck // nothing is buffered
	if user == "" {
		if user, err = askName(ctx, terminal, w); err != nil {
			return "", "", err
		}
	}
	password, err = cli.ReadPassword(ctx, terminal, w, fmt.Sprintf("Password of %s: ", user))
	return user, password, err
}

// askName reads a line from the terminal, with echo.
func askName(ctx context.Context, terminal *os.File, w io.Writer) (string, error) {
	fmt.Fprintf(w, "User: ")
	type answer struct {
		name string
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		var line [maxName]byte
		n, err := terminal.Read(line[:]) // a terminal hands over a line at a time
		name := strings.TrimRight(string(line[:n]), "\r\n")
		if err == nil && name == "" {
			err = errors.New("a user name must not be empty")
		}
		answered <- answer{name, err}
	}()
	select {
	case a := <-answered:
		return a.name, a.err
	case <-ctx.Done():
		return "", cli.ErrInterrupted
	}
}
