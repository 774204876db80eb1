package jetlog_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/jetlog"
)

func open(tb testing.TB, dir string, opts jetlog.Options) *jetlog.Log {
	tb.Helper()
	if opts.Logger == nil {
		opts.Logger = logger(tb)
	}
	log, err := jetlog.Open(tb.Context(), dir, 0, opts)
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

func closeLog(tb testing.TB, log *jetlog.Log) {
	tb.Helper()
	if err := log.Close(); err != nil {
		tb.Error(err)
	}
}

func appendText(tb testing.TB, log *jetlog.Log, content string) uint64 {
	tb.Helper()
	got, err := log.Append(tb.Context(), newRecord(tb, content), "")
	if err != nil {
		tb.Fatal(err)
	}
	return got.Offset
}

// What is no directory of a log of this version is refused, says so, and stays
// as it is.
func TestDirectoryOfAnotherKind(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		file, content string
		want          string
	}{
		"of another program": {"notes.txt", "mine", `holds "notes.txt" and no simplechat.json`},
		"of another kind":    {"simplechat.json", `{"kind":"simplechat users","format":1}`, "is not that of a SimpleChat log"},
		"of a newer version": {"simplechat.json", `{"kind":"simplechat log","format":2}`, "the log has format 2, this version knows 1"},
		"with a bad marker":  {"simplechat.json", `{`, "is not that of a SimpleChat log"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := jetlog.Open(t.Context(), dir, 0, jetlog.Options{}); err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("open: %v", err)
			}
			entries, err := os.ReadDir(dir)
			if err != nil || len(entries) != 1 {
				t.Errorf("the directory has %v now, %v", entries, err)
			}
		})
	}
}

func TestDirectoryIsNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "data")} {
		if _, err := jetlog.Open(t.Context(), dir, 0, jetlog.Options{}); err == nil || !strings.Contains(err.Error(), "not a directory") {
			t.Errorf("open %s: %v", dir, err)
		}
	}
}

// One log has the directory, also where somebody has removed the lock; when it is
// closed, the next one may.
func TestDirectoryHasOneUser(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := open(t, dir, jetlog.Options{})
	for range 2 {
		if _, err := jetlog.Open(t.Context(), dir, 0, jetlog.Options{}); err == nil || !strings.Contains(err.Error(), "another process uses this directory") {
			t.Errorf("open it twice: %v", err)
		}
		if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
			t.Fatal(err)
		}
	}
	appendText(t, log, "x")
	closeLog(t, log)
	log = open(t, dir, jetlog.Options{})
	defer closeLog(t, log)
	if state, err := log.State(t.Context()); err != nil || state.Next != 2 {
		t.Errorf("state %+v, %v", state, err)
	}
}

// The retention may change between starts: what still fits stays.
func TestRetentionChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 10_000
	log := open(t, dir, jetlog.Options{Retention: chatsvc.DefaultRetention()})
	fillConcurrently(t, log, records)
	closeLog(t, log)
	for _, r := range []chatsvc.Retention{
		{Messages: records},
		{Messages: 3000, Bytes: 1 << 20},
		{Messages: 3000, Age: time.Hour},
		{Age: time.Second},
		{Bytes: 3000 * 20},
		{Messages: 100_000},
		{},
	} {
		log := open(t, dir, jetlog.Options{Retention: r})
		state, err := log.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fits := uint64(3000)
		if r.Messages == records {
			fits = records
		}
		if state.Next != records+1 || state.Next-state.First < fits {
			t.Errorf("with %+v the state is %+v", r, state)
		}
		closeLog(t, log)
	}
}

// fillConcurrently appends records and returns when all are acknowledged.
func fillConcurrently(tb testing.TB, log *jetlog.Log, records int) {
	tb.Helper()
	const senders = 500
	failed := make(chan error, senders)
	record := newRecord(tb, "x")
	for range senders {
		go func() {
			var err error
			for n := 0; n < records/senders && err == nil; n++ {
				_, err = log.Append(tb.Context(), record, "")
			}
			failed <- err
		}()
	}
	for range senders {
		if err := <-failed; err != nil {
			tb.Fatal(err)
		}
	}
}

// blocks returns the files that hold the records, oldest first.
func blocks(tb testing.TB, dir string) []string {
	tb.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Ext(path) == ".blk" {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		tb.Fatalf("no files with records: %v", err)
	}
	return found
}

// A log that has lost acknowledged records at its end says so, and has another
// epoch: a client must not take new records for those that it knows.
func TestLostTailChangesTheEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := open(t, dir, jetlog.Options{})
	for range 10 {
		appendText(t, log, strings.Repeat("x", 1000))
	}
	before, err := log.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeLog(t, log)
	block := blocks(t, dir)[0]
	info, err := os.Stat(block)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(block, info.Size()/2); err != nil {
		t.Fatal(err)
	}
	// The server's index would tell that there was more: a crash leaves none.
	if err := os.Remove(filepath.Join(filepath.Dir(block), "index.db")); err != nil {
		t.Fatal(err)
	}

	out := newTestLog(t)
	log = open(t, dir, jetlog.Options{Logger: slogTo(out)})
	defer closeLog(t, log)
	after, err := log.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if after.Next >= before.Next || after.Epoch == before.Epoch {
		t.Errorf("state %+v, it was %+v", after, before)
	}
	if !strings.Contains(out.String(), "went back") {
		t.Errorf("the log says nothing of it:\n%s", out)
	}
	if got := appendText(t, log, "goes on"); got != after.Next {
		t.Errorf("offset %d, %d was due", got, after.Next)
	}
}

// After Close nothing is taken or handed out, and nobody waits.
func TestClosedLog(t *testing.T) {
	t.Parallel()
	log := open(t, t.TempDir(), jetlog.Options{})
	appendText(t, log, "x")
	following := make(chan error, 1)
	seen := make(chan struct{})
	go func() {
		following <- log.Follow(t.Context(), 1, func(chatsvc.Entry) error {
			close(seen)
			return nil
		})
	}()
	<-seen
	closeLog(t, log)
	if err := <-following; !errors.Is(err, jetlog.ErrClosed) {
		t.Errorf("a follow under way: %v", err)
	}
	if _, err := log.Append(t.Context(), newRecord(t, "y"), ""); !errors.Is(err, jetlog.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := log.State(t.Context()); !errors.Is(err, jetlog.ErrClosed) {
		t.Errorf("state: %v", err)
	}
	if err := log.Follow(t.Context(), 1, func(chatsvc.Entry) error { return nil }); !errors.Is(err, jetlog.ErrClosed) {
		t.Errorf("follow: %v", err)
	}
	if err := log.Err(); !errors.Is(err, jetlog.ErrClosed) {
		t.Errorf("err: %v", err)
	}
	closeLog(t, log)
}
