package jetlog

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody is a user without rights.
const nobody = 65534

// The NATS server removes a stream whose files it cannot open: it must not come
// to that.
func TestUnreadableFileIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	l, err := Open(t.Context(), dir, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	epoch := l.epoch
	if _, err := l.Append(t.Context(), []byte("kept"), ""); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	block := filepath.Join(streamPath(filepath.Join(dir, storeDir), embeddedStream), "msgs", "1.blk")
	if err := openWithout(t, dir, block); err == nil || !strings.Contains(err.Error(), "1.blk: permission denied: nothing was changed") {
		t.Errorf("a log with a file that may not be read: %v", err)
	}
	l, err = Open(t.Context(), dir, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if state, err := l.State(t.Context()); err != nil || state.Epoch != epoch || state.Next != 2 {
		t.Errorf("%+v after the epoch %s, %v", state, epoch, err)
	}
}

// openWithout opens a log as somebody who may use all of it but one file.
func openWithout(t *testing.T, dir, file string) error {
	t.Helper()
	if os.Getuid() != 0 {
		if err := os.Chmod(file, 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(file, 0o600)
		_, err := Open(t.Context(), dir, 0, Options{})
		return err
	}
	err := filepath.WalkDir(filepath.Dir(dir), func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == file {
			return err
		}
		return os.Chown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(dir)), 0o755); err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and with the goroutine the thread ends
		if _, err := unix.SetfsuidRetUid(nobody); err != nil {
			t.Error(err)
		}
		_, err := Open(t.Context(), dir, 0, Options{})
		result <- err
	}()
	return <-result
}

// What is in the place of the server's directory is an error at once.
func TestStoreIsNoDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := Open(t.Context(), dir, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(dir, storeDir)
	if err := os.Rename(store, store+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(store, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, 0, Options{}); err == nil || !strings.Contains(err.Error(), "nats is not a directory") {
		t.Errorf("%v", err)
	}
}
