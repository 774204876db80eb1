package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// ErrInterrupted is the error of [ReadPassword] when its context is done.
var ErrInterrupted = errors.New("interrupted")

// ReadPassword prints text to prompts and reads a line from a terminal, without echo.
// When it returns the terminal is as it was before, also after Ctrl+C.
func ReadPassword(ctx context.Context, terminal *os.File, prompts io.Writer, text string) (string, error) {
	fd := int(terminal.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(prompts, "%s", text)
	type answer struct {
		line []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		answered <- answer{line, err}
	}()
	defer fmt.Fprintf(prompts, "\n")
	select {
	case a := <-answered:
		return string(a.line), a.err
	case <-ctx.Done():
		_ = term.Restore(fd, state)
		return "", ErrInterrupted
	}
}
