//go:build !race

package tracer

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/simplechat/cmd/simplechat/internal/disk"
)

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
