//go:build unix

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/linear"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

func diskIsFull(t *testing.T, says *promise) {
	ctx := chattest.Context(t, patience)
	p, ballast := startOnSmallDisk(t)
	sub := chattest.Subscribe(ctx, t, p.client("user1"))

	recorder := linear.NewRecorder()
	var taken []ledger.Message
	for code, n := connect.Code(0), 0; code != connect.CodeResourceExhausted; n++ {
		m := ledger.NewMessage("user1", n, 1<<19)
		err := sendRecorded(t, recorder, p, m)
		if err == nil {
			taken = append(taken, m)
			continue
		}
		// Sends that were running when the failure was noticed may get another answer.
		if code = codeOf(t, err); code != connect.CodeResourceExhausted && code != connect.CodeUnavailable {
			t.Fatalf("a send to a full disk: %v", err)
		}
	}
	says.isKept("Sends get `resource_exhausted`")
	awaitHealth(t, p, notServing)
	says.isKept(`health checks say "not serving"`)
	for _, other := range []*chattest.Subscription{sub, chattest.Subscribe(ctx, t, p.client("user2"))} {
		for i, m := range taken {
			if got := ledger.MessageOf(other.Next()); got != m {
				t.Fatalf("message %v where %v was due, the one with number %d", got, m, i)
			}
		}
	}
	readRecorded(t, recorder, p)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, serving)
	room := ledger.Message{From: "user1", Content: "there is room", Kind: chatpb.ChatMessage_Text, Timestamp: 1}
	if err := sendRecorded(t, recorder, p, room); err != nil {
		t.Error(err)
	}
	readRecorded(t, recorder, p)
	checkRecorded(t, recorder)
	says.isKept("The server recovers by itself when the disk has room.")
	if got := ledger.MessageOf(sub.Next()); got != room {
		t.Errorf("message %v on the stream that was open", got)
	}
	says.isKept("streams continue")
	p.stop()
}

// startOnSmallDisk starts a server on a file system of its own, half of which a file
// fills.
func startOnSmallDisk(t *testing.T) (p *process, ballast string) {
	t.Helper()
	p, root := startOnFileSystem(t, `head -c 24m /dev/zero >ballast`)
	p.awaitListening()
	return p, filepath.Join(root, "ballast")
}

// startOnFileSystem starts a server whose directory is on a file system of its own,
// which goes with it, after a shell has run commands in that. It returns the path of
// the file system.
func startOnFileSystem(t *testing.T, before string) (p *process, root string) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", dir).CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("mount a file system that only a process sees: %v: %s", err, out)
		}
		t.Skipf("mount a file system that only a process sees: %v: %s", err, out)
	}
	start := `mount -t tmpfs -o size=48m tmpfs "$1" && cd "$1" && { ` + before + `
		} && exec "$0" serve --listen 127.0.0.1:0 --data "$1/data"`
	cmd := exec.Command("unshare", "-rm", "sh", "-c", start, simplechat(t), dir)
	p = startProcess(t, cmd, cmd.Start)
	return p, filepath.Join("/proc", fmt.Sprint(cmd.Process.Pid), "root", dir)
}

// diskIsNotWritable starts servers on a disk that became full or read-only, after
// another server ended in good order or not.
func diskIsNotWritable(t *testing.T, says *promise) {
	for name, test := range map[string]struct {
		spoil, mend string // by a shell in the file system
		code        connect.Code
		reason      string // in the answer to a send
	}{
		"full":      {`cat /dev/zero >ballast 2>ignored; cat /dev/zero >>ballast 2>ignored; rm -f ignored; cat /dev/zero >>ballast; true`, `rm ballast`, connect.CodeResourceExhausted, "disk is full"},
		"read-only": {`mount -o remount,ro "$1"`, `mount -o remount,rw "$(pwd)"`, connect.CodeUnavailable, "disk is read-only"},
	} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(fmt.Sprintf("%s after %v", name, sig), func(t *testing.T) {
				p, root := startOnFileSystem(t, `"$0" serve --listen 127.0.0.1:0 --data "$1/data" 2>log; `+test.spoil)
				stopFirst(t, p, root, sig)
				p.awaitListening()
				if got := history(t, p); !slices.Equal(got, []string{"kept"}) {
					t.Errorf("history %q", got)
				}
				_, err := p.client("user1").SendMessage(chattest.Context(t, patience), text("refused"))
				if got := codeOf(t, err); got != test.code || !strings.Contains(err.Error(), test.reason) {
					t.Errorf("a send: %v", err)
				}
				awaitHealth(t, p, notServing)
				mend := exec.Command("nsenter", "--preserve-credentials", "-U", "-m", "-t", fmt.Sprint(p.cmd.Process.Pid),
					"sh", "-c", `cd "$0" && `+test.mend, strings.SplitN(root, "/root", 2)[1])
				if out, err := mend.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				awaitHealth(t, p, serving)
				send(chattest.Context(t, patience), t, p.client("user1"), text("written"))
				if got := history(t, p); !slices.Equal(got, []string{"kept", "written"}) {
					t.Errorf("history %q", got)
				}
				p.stop()
			})
		}
	}
	says.isKept("The history is served, sends get the reason.")
	says.isKept("The server recovers by itself when the disk can be written.")
}

// stopFirst sends a message to the server that the shell of p has started, and ends
// that server.
func stopFirst(t *testing.T, p *process, root string, sig syscall.Signal) {
	t.Helper()
	first := &process{tb: t}
	for ctx := chattest.Context(t, patience); first.addr == ""; time.Sleep(pause) { // as it has no log of its own here
		log, _ := os.ReadFile(filepath.Join(root, "log"))
		if match := listening.FindSubmatch(log); match != nil {
			first.addr = string(match[1])
		}
		if ctx.Err() != nil {
			t.Fatalf("the first server does not listen: %s, %s", log, p.logText())
		}
	}
	store(t, first, "kept", "")
	pid := p.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(child, sig); err != nil {
		t.Fatal(err)
	}
}

func directoryIsRemoved(t *testing.T, says *promise) {
	ctx := chattest.Context(t, patience)
	dir := filepath.Join(t.TempDir(), "data")
	aside := dir + ".aside"
	p := startServer(t, "--data", dir)
	client := p.client("user1")
	sub := chattest.Subscribe(ctx, t, client)
	send(ctx, t, client, text("before"))
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessage(ctx, text("nowhere")); codeOf(t, err) != connect.CodeUnavailable {
		t.Errorf("a send without a directory: %v", err)
	}
	says.isKept("Sends get `unavailable`")
	awaitHealth(t, p, notServing)
	says.isKept(`health checks say "not serving"`)
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("there is a directory: %v", err)
	}
	says.isKept("Nothing is made in its place")
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, p, serving)
	send(ctx, t, client, text("after"))
	says.isKept("The server recovers by itself when the directory is put back")
	var got []string
	for last := ""; last != "after"; {
		last = string(sub.Next().GetContent())
		got = append(got, last)
	}
	// A refused message may still be stored, as after any failure.
	if got = slices.DeleteFunc(got, func(s string) bool { return s == "nowhere" }); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("on the stream that was open: %q", got)
	}
	says.isKept("streams continue")
	p.stop()
}

func databaseIsRemoved(t *testing.T, says *promise) {
	for name, do := range map[string]func(path, aside string) error{
		"removed":  os.Rename,
		"replaced": func(path, aside string) error { return errors.Join(os.Rename(path, aside), copyFile(path, aside)) },
		"cut":      func(path, aside string) error { return errors.Join(copyFile(aside, path), os.Truncate(path, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx := chattest.Context(t, patience)
			dir := t.TempDir()
			path, aside := filepath.Join(dir, "data", "chat.db"), filepath.Join(dir, "aside")
			p := startServer(t, "--data", filepath.Dir(path))
			was := store(t, p, "before", "")
			p.stop() // so that the message is not in the write-ahead log alone
			p = startServer(t, "--data", filepath.Dir(path))
			sub := chattest.Subscribe(ctx, t, p.client("user2"))
			if err := do(path, aside); err != nil {
				t.Fatal(err)
			}
			if name == "replaced" {
				store(t, p, "at once", "")
				if got := history(t, p); !slices.Equal(got, []string{"before", "at once"}) {
					t.Errorf("history of the other file: %q", got)
				}
			} else {
				if _, err := p.client("user1").SendMessage(ctx, text("nowhere")); codeOf(t, err) != connect.CodeUnavailable {
					t.Errorf("a send: %v", err)
				}
				awaitHealth(t, p, notServing)
				if got := history(t, p); !slices.Contains(got, "before") {
					t.Errorf("history %q", got)
				}
			}
			if err := putBack(path, aside, name == "cut"); err != nil {
				t.Fatal(err)
			}
			awaitHealth(t, p, serving)
			if now := store(t, p, "after", ""); now.Epoch != was.Epoch {
				t.Errorf("the epoch is %s, it was %s", now.Epoch, was.Epoch)
			}
			for last := ""; last != "after"; {
				last = string(sub.Next().GetContent())
			}
			p.stop()
			if got := history(t, startServer(t, "--data", filepath.Dir(path))); !slices.Contains(got, "before") || !slices.Contains(got, "after") {
				t.Errorf("history after another start: %q", got)
			}
		})
	}
	says.isKept("Nothing more is acknowledged: sends get `unavailable`")
	says.isKept(`health checks say "not serving"`)
	says.isKept("streams continue")
	says.isKept("The server recovers by itself when the file is put back.")
	says.isKept("Another file with all acknowledged messages is used at once.")
}

func logIsRemoved(t *testing.T, says *promise) {
	for name, do := range map[string]func(path, aside string) error{"removed": os.Rename, "replaced": replace} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "data", "chat.db-wal")
			p := startServer(t, "--data", filepath.Dir(path))
			sub := chattest.Subscribe(chattest.Context(t, patience), t, p.client("user2"))
			was := store(t, p, "before", "")
			if err := do(path, filepath.Join(dir, "aside")); err != nil {
				t.Fatal(err)
			}
			now := store(t, p, "after", "")
			if now.Epoch != was.Epoch || now.Offset != was.Offset+1 {
				t.Errorf("stored at %v, after %v", now, was)
			}
			for _, want := range []string{"before", "after"} {
				if got := string(sub.Next().GetContent()); got != want {
					t.Errorf("message %q, %q was due", got, want)
				}
			}
			p.signal(syscall.SIGKILL)
			p.wait(patience)
			if got := history(t, startServer(t, "--data", filepath.Dir(path))); !slices.Equal(got, []string{"before", "after"}) {
				t.Errorf("history after another start: %q", got)
			}
		})
	}
	says.isKept("Nothing is lost: the server has the file open. It writes its messages to `chat.db`, sends and streams continue.")
}

// putBack puts a file back: its bytes, or the file itself.
func putBack(path, aside string, bytesOnly bool) error {
	if bytesOnly {
		return copyFile(path, aside)
	}
	return os.Rename(aside, path)
}

func filesAreDamaged(t *testing.T, says *promise) {
	dir := filepath.Join(t.TempDir(), "data")
	p := startServer(t, "--data", dir)
	for _, content := range []string{"the first", "the second", "the third"} {
		store(t, p, content, "")
	}
	was := resumeAt(t, p, ledger.Place{Epoch: "", Offset: 4})
	p.stop()
	database := filepath.Join(dir, "chat.db")
	data, err := os.ReadFile(database)
	if err != nil {
		t.Fatal(err)
	}
	second := bytes.Index(data, []byte("the second"))
	if second < 0 {
		t.Fatalf("the messages are not in %s", database)
	}
	flip(t, database, int64(second), 0)
	p = startServer(t, "--data", dir)
	if got := history(t, p); !slices.Equal(got, []string{"the first", "", "the third"}) {
		t.Errorf("history %q", got)
	}
	p.waitLog(regexp.MustCompile("level=ERROR"))
	says.isKept("A message that cannot be read comes as an empty one, all others as they are.")
	p.stop()

	if err := os.WriteFile(database, data[:len(data)-pageSize], 0o600); err != nil {
		t.Fatal(err)
	}
	p = startServer(t, "--data", dir)
	if got := history(t, p); !slices.Equal(got, []string{"the first", "the second", "the third"}) {
		t.Errorf("history %q", got)
	}
	if kept, err := filepath.Glob(filepath.Join(dir, "*", "chat.db")); err != nil || len(kept) != 1 {
		t.Errorf("the damaged file is kept in %q, %v", kept, err)
	}
	says.isKept("A `chat.db` that cannot be opened is repaired at the start, and the damaged file is kept beside it.")
	store(t, p, "the fourth", "")
	p.signal(syscall.SIGKILL)
	p.wait(patience)

	if err := os.Truncate(database+"-wal", 0); err != nil {
		t.Fatal(err)
	}
	p = startServer(t, "--data", dir)
	if got := resumeAt(t, p, was); got.Epoch == was.Epoch || got.Offset != 1 {
		t.Errorf("a client that was at %v is sent to %v", was, got)
	}
	says.isKept("If acknowledged messages are missing, the files are copied aside, the log gets another `Chat-Epoch`")
	p.waitLog(regexp.MustCompile("simplechat log repair --data " + dir))
	says.isKept("and the server's log names the command that recovers what can be read.")
}

func olderCopyIsPutBack(t *testing.T, says *promise) {
	data, older := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "older")
	send := func(dir, content string) ledger.Place {
		p := startServer(t, "--data", dir)
		defer p.stop()
		return store(t, p, content, "")
	}
	send(data, "first")
	copyDir(t, older, data)
	newest := send(data, "second")

	if err := copyFile(filepath.Join(data, "chat.db"), filepath.Join(older, "chat.db")); err != nil {
		t.Fatal(err)
	}
	p := startServer(t, "--data", data)
	if got := history(t, p); !slices.Equal(got, []string{"first"}) {
		t.Errorf("history %q", got)
	}
	if got := store(t, p, "another", ""); got.Epoch == newest.Epoch || got.Offset != 2 {
		t.Errorf("the copy continues with %v after %v", got, newest)
	}
	says.isKept("Its messages stay, and the log gets another `Chat-Epoch`.")
	p.stop()
	// It ended in good order, so both files are gone.
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(filepath.Join(data, "chat.db"+suffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("chat.db%s exists: %v", suffix, err)
		}
	}
	says.isKept("Remove `chat.db-wal` and `chat.db-shm` with the newer one.")

	if got := send(older, "another"); got != newest {
		t.Errorf("the copy is told from the newest: %v after %v", got, newest)
	}
	says.isKept("A copy of the whole directory cannot be told from the newest")
	if out, err := exec.Command(simplechat(t), "log", "new-epoch", "--data", older).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := send(older, "more"); got.Epoch == newest.Epoch || got.Offset != 3 {
		t.Errorf("after a new epoch: %v after %v", got, newest)
	}
	says.isKept("run `simplechat log new-epoch` before the start.")
}

// copyDir copies a directory to where nothing is.
func copyDir(tb testing.TB, to, from string) {
	tb.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		tb.Fatal(err)
	}
}

// A write that the system refuses, as for a file that may not be larger, is answered
// with the truth: that message was not stored, and everything before it was.
func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	// In blocks of 512 bytes: 3 MiB, less than the write-ahead log grows to.
	cmd := exec.Command("sh", "-c", `ulimit -f 6144 && exec "$0" serve --listen 127.0.0.1:0 --data "$1"`, simplechat(t), dir)
	p := startProcess(t, cmd, cmd.Start)
	p.awaitListening()
	recorder := linear.NewRecorder()
	for sent, refused := 0, 0; refused < 3; sent++ {
		err := sendRecorded(t, recorder, p, ledger.NewMessage("user1", sent, 1<<18))
		if err == nil {
			if sent > 100 {
				t.Fatal("no write was refused")
			}
			continue
		}
		if refused++; codeOf(t, err) != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "was not stored") {
			t.Errorf("a send whose write fails: %v", err)
		}
	}
	readRecorded(t, recorder, p)
	p.signal(syscall.SIGKILL)
	p.wait(patience)
	readRecorded(t, recorder, startServer(t, "--data", dir))
	checkRecorded(t, recorder)
}
