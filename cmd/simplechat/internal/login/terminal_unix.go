//go:build unix

package login

import (
	"io"
	"os"
)

// openTerminal opens the terminal that the process was started from, for answers and
// for prompts.
func openTerminal() (*os.File, io.Writer, error) {
	terminal, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	return terminal, terminal, err
}
