//go:build !unix

package login

import (
	"io"
	"os"
)

// openTerminal opens the console that the process was started from, for answers.
// Prompts go to standard error.
func openTerminal() (*os.File, io.Writer, error) {
	console, err := os.OpenFile("CONIN$", os.O_RDWR, 0)
	return console, os.Stderr, err
}
