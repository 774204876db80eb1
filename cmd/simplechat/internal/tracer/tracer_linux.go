//go:build !race

package tracer

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/simplechat/cmd/simplechat/internal/disk"
)

// Tracer runs a program under ptrace(2), and records its changes to the files below a
// directory: the bytes that it writes, the names that it creates, and its syncs. It needs
// no privilege, no device and no mount. A system call that it cannot follow is an error,
// because the model would then be wrong. It does not see writes to a mapping: no byte of
// such a file counts as durable.
type Tracer struct {
	Root string

	mu      sync.Mutex   // guards all below
	Disk    *disk.Disk   // as it is now
	Events  []disk.Event // since the beginning
	files   map[int]openFile
	calls   map[int]func(result int64) // for each thread inside a call that matters, what to do at its end
	ending  int                        // the process that is to end, or 0
	failing bool                       // syncs are to fail
	failed  map[int]bool               // threads inside a sync that fails
	err     error
}

// openFile is the open file of a descriptor of the program.
type openFile struct {
	node int
	sync bool // O_SYNC or O_DSYNC: each write is durable when it returns
}

// New returns a tracer for the files below root, an empty directory.
func New(root string) *Tracer {
	return &Tracer{Root: root, Disk: disk.New()}
}

// Start starts cmd under the tracer. The channel gets the tracer's error, or
// nil, when the program has ended.
func (t *Tracer) Start(cmd *exec.Cmd) (<-chan error, error) {
	t.files, t.calls, t.failed, t.ending = map[int]openFile{}, map[int]func(int64){}, map[int]bool{}, 0
	// A process group of its own tells it from other children of the same thread.
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// All of ptrace belongs to the thread that began it. It dies with the goroutine, and so
		// does the rest of the program.
		runtime.LockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		err := t.begin(cmd.Process.Pid)
		started <- err
		if err == nil {
			ended <- t.trace(cmd.Process.Pid)
		}
	}()
	return ended, <-started
}

// begin lets the program, which waits in its first instruction, run.
func (t *Tracer) begin(pid int) error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL|unix.WNOTHREAD, nil); err != nil {
		return fmt.Errorf("wait for the program's first instruction: %w", err)
	}
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	return unix.PtraceSyscall(pid, 0)
}

// trace follows the program to its end.
func (t *Tracer) trace(pid int) error {
	threads := map[int]bool{pid: true}
	for {
		var status unix.WaitStatus
		thread, err := unix.Wait4(-pid, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return t.failure()
		case err != nil:
			return fmt.Errorf("wait for the traced program: %w", err)
		case !status.Stopped():
			delete(threads, thread)
			continue
		}
		deliver, stay := 0, false
		switch sig := status.StopSignal(); {
		case sig == unix.SIGTRAP|0x80:
			stay = t.stopped(pid, thread)
		case sig == unix.SIGTRAP && status.TrapCause() > 0: // a new thread
		case sig == unix.SIGSTOP && !threads[thread]: // the new thread itself
		default:
			deliver = int(sig)
		}
		threads[thread] = true
		if stay {
			continue
		}
		// ESRCH: the thread was killed, and cannot continue.
		if err := unix.PtraceSyscall(thread, deliver); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("ptrace: %w", err)
		}
	}
}

// Position returns the number of events so far. It includes everything that the program
// did before it sent an answer, if the receiver of the answer asks.
func (t *Tracer) Position() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.Events)
}

// SetFailing makes all syncs fail from now on, without doing anything, or none.
func (t *Tracer) SetFailing(failing bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing = failing
}

func (t *Tracer) failure() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// callInfo is struct ptrace_syscall_info of linux/ptrace.h.
type callInfo struct {
	op     uint8
	_      [3]uint8
	_      uint32
	_, _   uint64
	number uint64 // at the end of a call: its result
	args   [6]uint64
	_      [2]uint64
}

// Kill ends the process between two calls that matter: what a thread is in the
// middle of when it is killed, the kernel may have done without telling anybody.
func (t *Tracer) Kill(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ending = pid
	t.killIfQuiet()
}

// killIfQuiet kills the process that is to end, when no call that matters is
// under way. The caller holds mu.
func (t *Tracer) killIfQuiet() {
	if t.ending != 0 && len(t.calls) == 0 {
		_ = unix.Kill(t.ending, unix.SIGKILL) // it may have ended
	}
}

// stopped handles a thread that enters or leaves a system call. It reports
// whether the thread is to stay where it is, as the process ends.
func (t *Tracer) stopped(pid, thread int) (stay bool) {
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(thread),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case errno == unix.ESRCH: // the thread was killed in between
	case errno != 0:
		t.failf("what a thread stopped for: %w", errno)
	case info.op == unix.PTRACE_SYSCALL_INFO_ENTRY && info.number == unix.SYS_EXIT_GROUP:
		t.ending = pid
	case info.op == unix.PTRACE_SYSCALL_INFO_ENTRY && t.ending == 0:
		if done := t.entered(modern(call{t, pid, thread, info.number, info.args})); done != nil {
			t.calls[thread] = done
		}
	case info.op == unix.PTRACE_SYSCALL_INFO_EXIT:
		if t.failed[thread] {
			t.failedSync(thread)
		}
		if done := t.calls[thread]; done != nil && int64(info.number) >= 0 {
			done(int64(info.number))
		}
		delete(t.calls, thread)
	}
	t.killIfQuiet()
	return t.ending != 0
}

// failf notes the first error. The caller holds mu.
func (t *Tracer) failf(format string, args ...any) {
	if t.err == nil {
		t.err = fmt.Errorf("trace: "+format, args...)
	}
}

// record makes an event happen, now and whenever the events are replayed. The
// caller holds mu.
func (t *Tracer) record(e disk.Event) {
	t.Disk.Apply(e)
	t.Events = append(t.Events, e)
}
