package bench

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pinPacer gives the goroutine a thread of its own, whose sleeps are exact to some
// microseconds: by default the kernel adds up to 50 µs (prctl(2), PR_SET_TIMERSLACK).
// Go's own timers are exact to 1 ms when nothing else happens (netpoll waits in
// milliseconds), which would be part of each latency. The returned function undoes it.
func pinPacer() func() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it sleeps are just less exact
	return runtime.UnlockOSThread
}

// pause sleeps for d.
func pause(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		t := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&t, nil) // interrupted: the rest is slept next
	}
}

// syncData writes a file's content to the disk, and only the metadata that is needed to
// read it.
func syncData(file *os.File) error { return syscall.Fdatasync(int(file.Fd())) }
