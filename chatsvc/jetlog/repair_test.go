package jetlog

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// When the server in this process cuts off the log's connection, as after a
// standstill, the log goes on by itself.
func TestDroppedConnectionIsRepaired(t *testing.T) {
	t.Parallel()
	l, err := Open(t.Context(), t.TempDir(), 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	if _, err := l.Append(t.Context(), []byte("before"), ""); err != nil {
		t.Fatal(err)
	}
	dropConnection(t, l)
	if got := appendUntilStored(t, l, "key"); got.Offset != 2 {
		t.Errorf("offset %d after 1", got.Offset)
	}
}

// dropConnection makes the server in this process cut off the log's connection.
func dropConnection(t *testing.T, l *Log) {
	t.Helper()
	clients, err := l.engine.srv.Connz(nil)
	if err != nil || len(clients.Conns) != 1 {
		t.Fatalf("%d connections, %v", len(clients.Conns), err)
	}
	if err := l.engine.srv.DisconnectClientByID(clients.Conns[0].Cid); err != nil {
		t.Fatal(err)
	}
}

// appendUntilStored appends a record with a key until the log has it.
func appendUntilStored(t *testing.T, l *Log, key string) chatsvc.Appended {
	t.Helper()
	deadline := time.After(time.Minute)
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		got, err := l.Append(t.Context(), []byte("after"), key)
		if err == nil {
			return got
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("it does not go on: %v", err)
		}
	}
}

// A key is known for its window, after a restart too, and also where its message
// had to go because of the retention.
func TestKeyOfForgottenMessageIsKnownAfterRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() *Log {
		l, err := Open(t.Context(), dir, 0, Options{Retention: chatsvc.Retention{Messages: 1}})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	shut := func(l *Log) {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open()
	first, err := l.Append(t.Context(), []byte("first"), "key")
	if err != nil || first.Duplicate {
		t.Fatalf("%+v, %v", first, err)
	}
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			for range spareMessages / 50 {
				if _, err := l.Append(t.Context(), []byte("other"), ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	senders.Wait()
	known := func(moment string) {
		t.Helper()
		if got := appendUntilStored(t, l, "key"); !got.Duplicate || got.Offset != first.Offset {
			t.Errorf("%s: %+v, a duplicate of %d was due", moment, got, first.Offset)
		}
		if state, err := l.State(t.Context()); err != nil || state.First <= first.Offset {
			t.Errorf("%s: %+v, %v: the message is still there", moment, state, err)
		}
	}
	known("before a restart")
	dropConnection(t, l)
	known("after the server in this process was started anew")
	for range 2 {
		shut(l)
		l = open()
		known("after a restart")
	}
	shut(l)
}

// A directory that is removed while it is in use is noticed by the next append:
// nothing is acknowledged until it is back. Another one in its place is left
// alone.
func TestRemovedDirectoryIsNoticed(t *testing.T) {
	t.Parallel()
	dir, aside := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "aside")
	l, err := Open(t.Context(), dir, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := appendUntilStored(t, l, "one"); got.Offset != 1 {
		t.Errorf("%+v", got)
	}
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	for _, replaced := range []bool{false, true} {
		if replaced {
			if err := os.CopyFS(dir, os.DirFS(aside)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := l.Append(t.Context(), []byte("nowhere"), ""); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("append: %+v, %v", got, err)
		}
		for !errors.Is(l.Err(), errRemoved) {
			time.Sleep(time.Millisecond)
		}
		l.engine.fail(errors.New("try again"))
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); err != nil {
		t.Fatal(err)
	}
	if got := appendUntilStored(t, l, "two"); got.Offset < 2 || got.Duplicate {
		t.Errorf("%+v after the directory was put back", got)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
