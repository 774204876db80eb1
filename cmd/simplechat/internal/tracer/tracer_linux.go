//go:build !race

package tracer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
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

// call is a system call that a thread enters.
type call struct {
	*Tracer

	pid, thread int
	number      uint64
	args        [6]uint64
}

// entered returns what to do when the call has succeeded, or nil.
func (t *Tracer) entered(c call) func(result int64) {
	fd := int(int32(c.args[0]))
	file, tracked := t.files[fd]
	switch c.number {
	case unix.SYS_OPENAT:
		return func(result int64) { c.opened(int(result)) }
	case unix.SYS_CLOSE:
		delete(t.files, fd) // now: another thread may get the number before this one returns
	case unix.SYS_MKDIRAT:
		return func(int64) { c.create(0, 1, map[string]int{}) }
	case unix.SYS_UNLINKAT:
		return func(int64) { c.renamed(c.resolve(0, 1), nil) }
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return func(int64) { c.renamed(c.resolve(0, 1), c.resolve(2, 3)) }
	case unix.SYS_WRITE:
		if tracked {
			return func(n int64) { c.written(file, c.seek(fd)-n, n) }
		}
	case unix.SYS_PWRITE64:
		if tracked {
			return func(n int64) { c.written(file, int64(c.args[3]), n) }
		}
	case unix.SYS_FTRUNCATE:
		if tracked {
			return func(int64) {
				t.record(disk.Event{Kind: disk.Changed, Node: file.node, Change: disk.Change{Offset: int64(c.args[1])}})
			}
		}
	case unix.SYS_MMAP:
		if mappedFile, ok := t.files[int(int32(c.args[4]))]; ok && c.args[2]&unix.PROT_WRITE != 0 && c.args[3]&unix.MAP_SHARED != 0 {
			return func(int64) { t.record(disk.Event{Kind: disk.Mapped, Node: mappedFile.node}) }
		}
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		switch {
		case tracked && t.failing:
			t.failSync(c.thread)
		case tracked:
			seen := t.Disk.Begun(file.node)
			return func(int64) { t.record(disk.Event{Kind: disk.Synced, Node: file.node, Seen: seen}) }
		}
	default:
		c.refuse(tracked)
	}
	return nil
}

// modern returns the call in the form with a directory's descriptor, if it has an
// older one. Only amd64 has those, and the C library that SQLite is compiled with
// uses them.
func modern(c call) call {
	const open, creat, rename, mkdir, rmdir, link, unlink, symlink = 2, 85, 82, 83, 84, 86, 87, 88
	if runtime.GOARCH != "amd64" {
		return c
	}
	here, a := uint64(math.MaxUint64-99), c.args // unix.AT_FDCWD
	switch c.number {
	case open:
		c.number, c.args = unix.SYS_OPENAT, [6]uint64{here, a[0], a[1], a[2]}
	case creat:
		c.number, c.args = unix.SYS_OPENAT, [6]uint64{here, a[0], unix.O_CREAT | unix.O_WRONLY | unix.O_TRUNC, a[1]}
	case rename:
		c.number, c.args = unix.SYS_RENAMEAT, [6]uint64{here, a[0], here, a[1]}
	case mkdir:
		c.number, c.args = unix.SYS_MKDIRAT, [6]uint64{here, a[0], a[1]}
	case rmdir, unlink:
		c.number, c.args = unix.SYS_UNLINKAT, [6]uint64{here, a[0]}
	case link:
		c.number, c.args = unix.SYS_LINKAT, [6]uint64{here, a[0], here, a[1]}
	case symlink:
		c.number, c.args = unix.SYS_SYMLINKAT, [6]uint64{a[0], here, a[1]}
	}
	return c
}

// refuse fails for calls that change files in ways that the model does not know.
func (c call) refuse(tracked bool) {
	var is bool
	switch c.number {
	case unix.SYS_WRITEV, unix.SYS_PWRITEV, unix.SYS_PWRITEV2, unix.SYS_FALLOCATE, unix.SYS_DUP, unix.SYS_DUP3, unix.SYS_SENDFILE:
		is = tracked
	case unix.SYS_FCNTL:
		is = tracked && (c.args[1] == unix.F_DUPFD || c.args[1] == unix.F_DUPFD_CLOEXEC)
	case unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE:
		_, is = c.files[int(int32(c.args[2]))]
	case unix.SYS_LINKAT:
		is = c.resolve(2, 3) != nil
	case unix.SYS_SYMLINKAT:
		is = c.resolve(1, 2) != nil
	case unix.SYS_TRUNCATE:
		is = c.path(c.string(c.args[0])) != nil
	case unix.SYS_OPENAT2, unix.SYS_IO_URING_SETUP:
		is = true
	}
	if is {
		c.failf("system call %d with arguments %x: the model does not know it", c.number, c.args)
	}
}

// opened records the file of a new descriptor.
func (c call) opened(fd int) {
	names := c.resolve(0, 1)
	if names == nil {
		return
	}
	flags := int(c.args[2])
	number, ok := c.Disk.Lookup(names...)
	switch {
	case !ok && flags&unix.O_CREAT == 0:
		c.failf("%v was opened, and nobody has created it", names)
		return
	case flags&unix.O_APPEND != 0, flags&unix.O_TMPFILE == unix.O_TMPFILE:
		c.failf("%v was opened with flags %x: the model does not know them", names, flags)
	case !ok:
		number = c.create(0, 1, nil)
	case flags&unix.O_TRUNC != 0:
		c.record(disk.Event{Kind: disk.Changed, Node: number})
	}
	c.files[fd] = openFile{number, flags&(unix.O_SYNC|unix.O_DSYNC) != 0}
}

// create makes a node with a name, a directory if its own names are not nil.
func (c call) create(dir, name int, entries map[string]int) int {
	names := c.resolve(dir, name)
	if names == nil {
		return 0
	}
	number := c.Disk.Next()
	c.record(disk.Event{Kind: disk.Created, Node: number, Change: disk.Change{Names: entries}})
	c.rename(names[:len(names)-1], map[string]int{names[len(names)-1]: number})
	return number
}

// renamed takes the name from away, and gives what it named the name to, if
// there is one.
func (c call) renamed(from, to []string) {
	if from == nil && to == nil {
		return
	}
	number, ok := c.Disk.Lookup(from...)
	if !ok || from == nil {
		c.failf("%v became %v, and nobody has created it", from, to)
		return
	}
	fromDir, fromName := from[:len(from)-1], from[len(from)-1]
	if to == nil {
		c.rename(fromDir, map[string]int{fromName: disk.Gone})
		return
	}
	toDir, toName := to[:len(to)-1], to[len(to)-1]
	if strings.Join(fromDir, "/") == strings.Join(toDir, "/") {
		c.rename(fromDir, map[string]int{fromName: disk.Gone, toName: number})
		return
	}
	c.rename(toDir, map[string]int{toName: number})
	c.rename(fromDir, map[string]int{fromName: disk.Gone})
}

// rename changes entries of a directory.
func (c call) rename(dir []string, entries map[string]int) {
	number, ok := c.Disk.Lookup(dir...)
	if !ok {
		c.failf("a name in %v, which nobody has created", dir)
		return
	}
	c.record(disk.Event{Kind: disk.Changed, Node: number, Change: disk.Change{Names: entries}})
}

// written notes n bytes that were written at offset.
func (c call) written(file openFile, offset, n int64) {
	data := make([]byte, n)
	if err := c.memory(c.args[1], data); err != nil {
		c.failf("bytes written: %w", err)
	}
	c.record(disk.Event{Kind: disk.Changed, Node: file.node, Change: disk.Change{Offset: offset, Data: data}})
	if file.sync {
		c.record(disk.Event{Kind: disk.Synced, Node: file.node, Seen: c.Disk.Begun(file.node)})
	}
}

// seek returns where a descriptor reads or writes next.
func (c call) seek(fd int) int64 {
	info, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%d", c.pid, fd))
	var position int64
	if err == nil {
		_, err = fmt.Sscanf(string(info), "pos: %d", &position)
	}
	if err != nil {
		c.failf("position in a file: %w", err)
	}
	return position
}

// resolve returns the names that lead from the root to what the arguments, a
// directory's descriptor and a path, name, or nil if that is elsewhere.
func (c call) resolve(dir, path int) []string {
	name := c.string(c.args[path])
	if !filepath.IsAbs(name) {
		link := "cwd"
		if fd := int(int32(c.args[dir])); fd != unix.AT_FDCWD {
			link = fmt.Sprintf("fd/%d", fd)
		}
		base, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", c.pid, link))
		if err != nil {
			c.failf("directory of %s: %w", name, err)
		}
		name = filepath.Join(base, name)
	}
	return c.path(name)
}

// path returns the names that lead from the root to an absolute path, or nil if
// it is elsewhere.
func (c call) path(name string) []string {
	rest, ok := strings.CutPrefix(filepath.Clean(name), c.Root)
	switch {
	case !ok || rest != "" && rest[0] != '/':
		return nil
	case rest == "":
		return []string{}
	default:
		return strings.Split(rest[1:], "/")
	}
}

// string returns the string at an address of the program.
func (c call) string(address uint64) string {
	const longest = 4096 // PATH_MAX, and a page: a read does not pass its end
	var name []byte
	for len(name) < longest {
		piece := make([]byte, longest-(address+uint64(len(name)))%longest)
		if err := c.memory(address+uint64(len(name)), piece); err != nil {
			c.failf("a path: %w", err)
			return ""
		}
		before, _, ended := bytes.Cut(piece, []byte{0})
		name = append(name, before...)
		if ended {
			break
		}
	}
	return string(name)
}

// memory reads the program's memory.
func (c call) memory(address uint64, into []byte) error {
	if len(into) == 0 {
		return nil
	}
	memory, err := os.Open(fmt.Sprintf("/proc/%d/mem", c.pid))
	if err != nil {
		return err
	}
	defer func() { _ = memory.Close() }()
	_, err = memory.ReadAt(into, int64(address))
	return err
}
