//go:build unix

package sendtail

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// watchClosed calls closed when w is a pipe that nobody reads any more: tail would notice
// only with the next message.
func watchClosed(w io.Writer, closed func()) {
	file, ok := w.(*os.File)
	if !ok {
		return
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeNamedPipe == 0 {
		return
	}
	fds := []unix.PollFd{{Fd: int32(file.Fd())}}
	go func() {
		for {
			_, err := unix.Poll(fds, -1)
			switch {
			case errors.Is(err, unix.EINTR):
			case err == nil && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0:
				closed()
				return
			default:
				return // a write will tell
			}
		}
	}()
}
