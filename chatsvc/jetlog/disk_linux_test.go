package jetlog_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"example.com/simplechat/chatsvc/jetlog"
)

// smallDisk returns a directory that is a file system of size bytes. Where the
// user may not make one, the test is skipped.
func smallDisk(tb testing.TB, size int) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprint("size=", size)); err != nil {
		if errors.Is(err, unix.EPERM) && os.Getenv("CI") == "" {
			tb.Skipf("mount a small file system: %v: run the test as root", err)
		}
		tb.Fatalf("mount a small file system: %v", err)
	}
	tb.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			tb.Error(err)
		}
	})
	return dir
}

// A full disk refuses sends; nothing that was not stored whole is handed out,
// and the log goes on by itself when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for name, senders := range map[string]int{"one sender": 1, "many senders": 48} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := smallDisk(t, 48<<20)
			ballast := filepath.Join(disk, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 24<<20), 0o600); err != nil {
				t.Fatal(err)
			}
			out := newTestLog(t)
			log, err := jetlog.Open(t.Context(), filepath.Join(disk, "data"), 0, jetlog.Options{Logger: slogTo(out)})
			if err != nil {
				t.Fatal(err)
			}
			defer log.Close()
			seen := collect(t, log)
			acknowledged := fill(t, log, senders)
			if log.Err() == nil {
				t.Error("the log says that it can store messages")
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			last := appendWhenUp(t, log)
			entries := seen.await(t, last)
			for i, e := range entries {
				if e.Offset != uint64(i)+1 {
					t.Fatalf("offset %d where %d was due", e.Offset, i+1)
				}
			}
			for offset, content := range acknowledged {
				if got := entries[offset-1].Record; !bytes.Equal(got, content) {
					t.Errorf("offset %d holds %d bytes that are not those that were acknowledged", offset, len(got))
				}
			}
			if !strings.Contains(out.String(), "no space left") {
				t.Errorf("the log of the log does not name the cause:\n%s", out)
			}
		})
	}
}

// fill appends until no sender's append is taken any more, and returns the
// records that were acknowledged.
func fill(t *testing.T, log *jetlog.Log, senders int) map[uint64][]byte {
	t.Helper()
	acknowledged := make(map[uint64][]byte)
	var mu sync.Mutex // guards acknowledged
	var work sync.WaitGroup
	for s := range senders {
		work.Go(func() {
			for n := 0; ; n++ {
				content := newRecord(t, fmt.Sprint(s, "-", n, strings.Repeat("x", 32<<10)))
				got, err := log.Append(t.Context(), content, "")
				if err != nil {
					if code := connect.CodeOf(err); code != connect.CodeResourceExhausted && code != connect.CodeUnavailable {
						t.Errorf("append to a full disk: %v", err)
					}
					return
				}
				mu.Lock()
				acknowledged[got.Offset] = content
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if _, err := log.Append(t.Context(), newRecord(t, "x"), ""); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("append to a disk that is known to be full: %v", err)
	}
	return acknowledged
}

// A file system that is read-only is a clear error.
func TestReadOnlyDisk(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 48<<20)
	open := func() error {
		log, err := jetlog.Open(t.Context(), filepath.Join(disk, "data"), 0, jetlog.Options{Logger: logger(t)})
		if err == nil {
			defer log.Close()
			_, err = log.Append(t.Context(), newRecord(t, "x"), "")
		}
		return err
	}
	remount := func(flags uintptr) {
		if err := unix.Mount("", disk, "", unix.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	remount(unix.MS_RDONLY)
	if err := open(); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("a new log on a read-only disk: %v", err)
	}
	remount(0)
	if err := open(); err != nil {
		t.Fatal(err)
	}
	remount(unix.MS_RDONLY)
	if err := open(); err == nil || !strings.Contains(err.Error(), "read-only file system") {
		t.Errorf("a log on a read-only disk: %v", err)
	}
	remount(0)
	if err := open(); err != nil {
		t.Error(err)
	}
}
