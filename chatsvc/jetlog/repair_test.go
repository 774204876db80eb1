package jetlog

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
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
	l := openLog(t, t.TempDir(), Options{})
	defer closeLog(t, l)
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

// awaitErr returns when the log cannot store messages because of want.
func awaitErr(t *testing.T, l *Log, want error) {
	t.Helper()
	for deadline := time.After(time.Minute); !errors.Is(l.Err(), want); {
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			t.Fatalf("the log says %v, %v was due", l.Err(), want)
		}
	}
}

// A key is known for its window, after a restart too, and also where its message
// had to go because of the retention.
func TestKeyOfForgottenMessageIsKnownAfterRestart(t *testing.T) {
	t.Parallel()
	dir, one := t.TempDir(), Options{Retention: chatsvc.Retention{Messages: 1}}
	l := openLog(t, dir, one)
	first, err := l.Append(t.Context(), []byte("first"), "key")
	if err != nil || first.Duplicate {
		t.Fatalf("%+v, %v", first, err)
	}
	appendOthers(t, l)
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
		closeLog(t, l)
		l = openLog(t, dir, one)
		known("after a restart")
	}
	closeLog(t, l)
}

// appendOthers appends as many records as a stream that retains one holds.
func appendOthers(t *testing.T, l *Log) {
	t.Helper()
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
}

// A process that is killed between the storing of a record and the noting of its
// key, or one without a journal of keys, leaves a key that only its record has: it
// is known also when that is retained no longer.
func TestKeyThatWasNotJournaledIsKnown(t *testing.T) {
	t.Parallel()
	one := Options{Retention: chatsvc.Retention{Messages: 1}}
	for name, kill := range map[string]func(left, before string) error{
		"killed before it was noted": func(left, before string) error {
			for _, name := range []string{keysFile, markFile} {
				data, err := os.ReadFile(filepath.Join(before, name))
				if err != nil {
					return err
				}
				if err := os.WriteFile(filepath.Join(left, name), data, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
		"no journal": func(left, _ string) error { return os.Remove(filepath.Join(left, keysFile)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			at := func(name string) string { return filepath.Join(root, name) }
			crash := func(from, to string) {
				if err := os.CopyFS(at(to), os.DirFS(at(from))); err != nil {
					t.Fatal(err)
				}
			}
			l := openLog(t, at("first"), one)
			if _, err := l.Append(t.Context(), []byte("before"), ""); err != nil {
				t.Fatal(err)
			}
			crash("first", "before")
			first, err := l.Append(t.Context(), []byte("first"), "key")
			if err != nil {
				t.Fatal(err)
			}
			crash("first", "second")
			closeLog(t, l)
			if err := kill(at("second"), at("before")); err != nil {
				t.Fatal(err)
			}
			l = openLog(t, at("second"), one)
			appendOthers(t, l)
			crash("second", "third")
			closeLog(t, l)
			l = openLog(t, at("third"), one)
			defer closeLog(t, l)
			if state, err := l.State(t.Context()); err != nil || state.First <= first.Offset {
				t.Errorf("%+v, %v: the record is still there", state, err)
			}
			first.Duplicate = true
			if got, err := l.Append(t.Context(), []byte("again"), "key"); err != nil || got != first {
				t.Errorf("%+v, %v, %+v was due", got, err, first)
			}
		})
	}
}

// A directory that is removed while it is in use is noticed by the next append:
// nothing is acknowledged until it is back. Another one in its place is left
// alone.
func TestRemovedDirectoryIsNoticed(t *testing.T) {
	t.Parallel()
	dir, aside := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "aside")
	out := &lockedBuffer{}
	l := openLog(t, dir, Options{Logger: slog.New(slog.NewTextHandler(out, nil))})
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
		awaitErr(t, l, errRemoved)
		l.engine.fail(errors.New("try again"))
	}
	if err := errors.Join(os.RemoveAll(dir), os.Rename(aside, dir)); err != nil {
		t.Fatal(err)
	}
	if got := appendUntilStored(t, l, "two"); got.Offset < 2 || got.Duplicate {
		t.Errorf("%+v after the directory was put back", got)
	}
	closeLog(t, l)
	if said := out.take(); !strings.Contains(said, errRemoved.Error()) {
		t.Errorf("the log does not say what to do:\n%s", said)
	}
}

// An append ends, with and without a key, while the disk does not answer: with
// its context, or after its time, and then the log says so.
func TestAppendEndsWhileTheDiskHangs(t *testing.T) {
	t.Parallel()
	l := openLog(t, t.TempDir(), Options{})
	l.engine.disk.mu.Lock() // as settle does while it syncs
	for _, key := range []string{"", "key"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if got, err := l.Append(ctx, []byte("x"), key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("key %q: %+v, %v", key, got, err)
		}
		cancel()
	}
	if err := l.Err(); err != nil {
		t.Errorf("a caller had no patience, and the log is down: %v", err)
	}
	l.publisher.wait = 50 * time.Millisecond
	if got, err := l.Append(t.Context(), []byte("x"), ""); !errors.Is(err, errNoAnswer) {
		t.Errorf("%+v, %v", got, err)
	}
	awaitErr(t, l, errNoAnswer)
	l.engine.disk.mu.Unlock()
	l.publisher.wait = embeddedAppendTime
	if got := appendUntilStored(t, l, "after"); got.Duplicate {
		t.Errorf("%+v", got)
	}
	closeLog(t, l)
}

// Where all messages have expired and nothing is sent, the last offset is on the
// disk too: the file that has it then is synced.
func TestLastOffsetOfExpiredMessagesIsSynced(t *testing.T) {
	t.Parallel()
	l := newLog(embeddedStream, streamConfig(embeddedStream, chatsvc.Retention{}, 1), Options{})
	l.config.MaxAge, l.config.Duplicates = markPause*3/2, markPause*3/2 // the append itself is synced before
	if err := l.open(t.Context(), t.TempDir(), 0); err != nil {
		t.Fatal(err)
	}
	defer closeLog(t, l)
	if _, err := l.Append(t.Context(), []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	b := l.engine.disk.blocks
	last := func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.last
	}
	for deadline := time.After(time.Minute); last() < 2; {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			state, err := l.State(t.Context())
			t.Fatalf("file %d is the last one that was synced, with %+v, %v", last(), state, err)
		}
	}
}

// openLog opens a log that is closed by closeLog.
func openLog(t *testing.T, dir string, opts Options) *Log {
	t.Helper()
	l, err := Open(t.Context(), dir, 0, opts)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func closeLog(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
