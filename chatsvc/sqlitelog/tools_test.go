package sqlitelog_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// testRecord returns record number i of every test. Some need more than a page.
func testRecord(i int) []byte {
	random := rand.New(rand.NewPCG(uint64(i), 1))
	m := record.Message{
		Timestamp: 1_700_000_000_000 + uint64(i), From: fmt.Sprintf("user%d", i%5), Type: uint64(1 + i%2),
		Content: fmt.Appendf(nil, "message %d %s", i, strings.Repeat("x", random.IntN(100))),
	}
	if i%50 == 0 {
		m.Type = 2
		m.Content = make([]byte, 20_000+random.IntN(20_000))
		for j := range m.Content {
			m.Content[j] = byte(random.Uint32())
		}
	}
	return m.Append(nil)
}

// openLog opens a log, which is closed in the end.
func openLog(tb testing.TB, dir string) *sqlitelog.Log {
	tb.Helper()
	log, err := sqlitelog.Open(tb.Context(), dir, sqlitelog.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	return log
}

// appendTo appends records [from, to), whose offsets are their numbers.
func appendTo(tb testing.TB, log chatsvc.Log, from, to int) {
	tb.Helper()
	for i := from; i < to; i++ {
		if got, err := log.Append(tb.Context(), testRecord(i), ""); err != nil || got.Offset != uint64(i) {
			tb.Fatalf("append %d: %+v, %v", i, got, err)
		}
	}
}

func closeLog(tb testing.TB, log *sqlitelog.Log) {
	tb.Helper()
	if err := log.Close(); err != nil {
		tb.Fatal(err)
	}
}

func stateOf(tb testing.TB, log interface {
	State(ctx context.Context) (chatsvc.State, error)
},
) chatsvc.State {
	tb.Helper()
	state, err := log.State(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return state
}

// readLog returns all records.
func readLog(tb testing.TB, log interface {
	State(ctx context.Context) (chatsvc.State, error)
	Read(ctx context.Context, epoch string, from, to uint64, maxBytes int) (chatsvc.Chunk, error)
},
) map[uint64]chatsvc.Entry {
	tb.Helper()
	state := stateOf(tb, log)
	all := map[uint64]chatsvc.Entry{}
	for from := state.First; from < state.Next; {
		chunk, err := log.Read(tb.Context(), state.Epoch, from, state.Next, 1<<20)
		if err != nil || chunk.Next <= from {
			tb.Fatalf("read from %d: next %d, %v", from, chunk.Next, err)
		}
		for _, e := range chunk.Entries {
			all[e.Offset] = e
		}
		from = chunk.Next
	}
	return all
}

// isStored fails if the records [from, to) are not in all as they were appended.
func isStored(tb testing.TB, all map[uint64]chatsvc.Entry, from, to int) {
	tb.Helper()
	for i := from; i < to; i++ {
		if !bytes.Equal(all[uint64(i)].Record, testRecord(i)) {
			tb.Fatalf("record %d is %.80q", i, all[uint64(i)].Record)
		}
	}
}

// copyDir copies a directory's files, as kill -9 would leave them.
func copyDir(tb testing.TB, dir string) string {
	tb.Helper()
	to := tb.TempDir()
	for _, name := range []string{"chat.db", "chat.db-wal", "acknowledged"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), data, 0o600)
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
	return to
}

// A reader sees what a running server has stored, and after it has ended; it changes
// no file.
func TestReader(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 101)
	want := stateOf(t, log)
	for range 2 {
		before := listing(t, dir)
		r, err := sqlitelog.OpenReader(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := stateOf(t, r); got != want {
			t.Errorf("state %+v, want %+v", got, want)
		}
		isStored(t, readLog(t, r), 1, 101)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if after := listing(t, dir); after != before {
			t.Errorf("the files were\n%sand are\n%s", before, after)
		}
		closeLog(t, log)
	}
	killed, _ := killedLog(t)
	before := listing(t, killed)
	r, err := sqlitelog.OpenReader(killed)
	if err != nil {
		t.Fatal(err)
	}
	isStored(t, readLog(t, r), 1, messages+1)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if after := strings.Replace(listing(t, killed), lockLine(t, killed), "", 1); after != before {
		t.Errorf("after a kill the files were\n%sand are\n%s", before, after)
	}
	if _, err := sqlitelog.OpenReader(t.TempDir()); err == nil || !strings.Contains(err.Error(), "there is no chat.db") {
		t.Errorf("where there is no log: %v", err)
	}
}

// lockLine returns what listing has of the lock.
func lockLine(tb testing.TB, dir string) string {
	tb.Helper()
	for line := range strings.Lines(listing(tb, dir)) {
		if strings.HasPrefix(line, "lock ") {
			return line
		}
	}
	return ""
}

// listing describes the files in a directory.
func listing(tb testing.TB, dir string) string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			tb.Fatal(err)
		}
		if strings.HasSuffix(e.Name(), "-shm") {
			continue // readers note there what they read
		}
		fmt.Fprintln(&b, e.Name(), info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

func TestCheckOfAnIntactLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 101)
	if err := sqlitelog.Redact(t.Context(), dir, 7); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		got, err := sqlitelog.Check(t.Context(), dir, nil)
		if err != nil || got.IsDamaged() || got.Messages != 100 || got.Redacted != 1 || !got.HasEvidence || got.State.Next != 101 {
			t.Errorf("%+v, %v", got, err)
		}
		closeLog(t, log)
	}
}

// A backup of a running server has all that was acknowledged before, only its owner can
// read it, and it is a log of its own, in another epoch.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 501)
	file := filepath.Join(other, "chat.db")
	if err := sqlitelog.Backup(t.Context(), dir, file, nil); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, 501, 511)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if entries, _ := os.ReadDir(other); len(entries) != 1 {
		t.Errorf("beside the backup are %v", entries)
	}
	copied := openLog(t, other)
	isStored(t, readLog(t, copied), 1, 501)
	if is := stateOf(t, copied); is.Epoch == stateOf(t, log).Epoch || is.Next != 501 {
		t.Errorf("the copy is %+v", is)
	}
	if err := sqlitelog.Backup(t.Context(), dir, file, nil); err == nil || !strings.Contains(err.Error(), "the file exists already") {
		t.Errorf("over another file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	empty := t.TempDir()
	if err := sqlitelog.Backup(ctx, dir, filepath.Join(empty, "b"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if entries, _ := os.ReadDir(empty); len(entries) != 0 {
		t.Errorf("after a cancelled backup there is %v", entries)
	}
}

// An import keeps offsets, the epoch and times, and fills gaps.
func TestImport(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new")
	in, err := sqlitelog.NewImport(dir, "EPOCH")
	if err != nil {
		t.Fatal(err)
	}
	stored := time.UnixMilli(1_700_000_000_000)
	for i := 10; i < 60; i++ {
		if i == 30 {
			continue
		}
		if err := in.Add(t.Context(), chatsvc.Entry{Offset: uint64(i), Time: stored, Record: testRecord(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Add(t.Context(), chatsvc.Entry{Offset: 59, Record: testRecord(59)}); err == nil {
		t.Error("an offset was added again")
	}
	if err := in.Add(t.Context(), chatsvc.Entry{Offset: 60 + 1<<16 + 1, Record: testRecord(59)}); err == nil {
		t.Error("a gap of more than 65,536 messages was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "chat.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the log exists before the end: %v", err)
	}
	if err := in.Finish(t.Context(), 65); err != nil {
		t.Fatal(err)
	}
	log := openLog(t, dir)
	if is, want := stateOf(t, log), (chatsvc.State{Epoch: "EPOCH", First: 10, Next: 65}); is != want {
		t.Errorf("state %+v, want %+v", is, want)
	}
	all := readLog(t, log)
	isStored(t, all, 10, 30)
	isStored(t, all, 31, 60)
	empty := record.Message{}.Append(nil)
	if !bytes.Equal(all[30].Record, empty) || !bytes.Equal(all[64].Record, empty) || !all[10].Time.Equal(stored) {
		t.Errorf("30 is %q, 64 is %q; 10 was stored at %v", all[30].Record, all[64].Record, all[10].Time)
	}
	appendTo(t, log, 65, 66)
	closeLog(t, log)
	if _, err := sqlitelog.NewImport(dir, "EPOCH"); err == nil || !strings.Contains(err.Error(), "the directory has a log already") {
		t.Errorf("over a log: %v", err)
	}
}

// An import that fails leaves nothing, and one without messages keeps the next offset.
func TestImportOfNothing(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "new", "log")
	in, err := sqlitelog.NewImport(dir, "EPOCH")
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Add(t.Context(), chatsvc.Entry{Offset: 1, Record: []byte("no record")}); !errors.Is(err, record.ErrInvalid) {
		t.Errorf("bytes that are no record: %v", err)
	}
	if err := in.Abort(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, parent)
	if in, err = sqlitelog.NewImport(dir, "EPOCH"); err == nil {
		err = in.Finish(t.Context(), 100)
	}
	if err != nil {
		t.Fatal(err)
	}
	if is, want := stateOf(t, openLog(t, dir)), (chatsvc.State{Epoch: "EPOCH", First: 100, Next: 100}); is != want {
		t.Errorf("state %+v, want %+v", is, want)
	}
}

// checkEmpty checks that a directory has no files. Windows does not remove a file that is
// locked.
func checkEmpty(tb testing.TB, dir string) {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 && runtime.GOOS != "windows" {
		tb.Errorf("left is %v, %v", entries, err)
	}
}

// An import that fails leaves the files that were in the directory before.
func TestImportLeavesOtherFiles(t *testing.T) {
	t.Parallel()
	parent := t.TempDir()
	dir := filepath.Join(parent, "new")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		in, err := sqlitelog.NewImport(dir, "EPOCH")
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Abort(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkEmpty(t, dir)
	}
	log := openLog(t, dir)
	appendTo(t, log, 1, 10)
	closeLog(t, log)
	before := listing(t, dir)
	if _, err := sqlitelog.NewImport(dir, "EPOCH"); err == nil {
		t.Error("a log was replaced")
	}
	if after := listing(t, dir); after != before {
		t.Errorf("there is\n%s, and was\n%s", after, before)
	}
}

func TestNewEpoch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	appendTo(t, log, 1, 11)
	before := stateOf(t, log)
	if _, _, err := sqlitelog.NewEpoch(t.Context(), dir); !errors.Is(err, sqlitelog.ErrInUse) {
		t.Errorf("beside a server: %v", err)
	}
	closeLog(t, log)
	was, is, err := sqlitelog.NewEpoch(t.Context(), dir)
	if err != nil || was != before.Epoch || is == was {
		t.Fatalf("from %s to %s, %v", was, is, err)
	}
	log = openLog(t, dir)
	if got := stateOf(t, log); got.Epoch != is || got.First != 1 || got.Next != 11 {
		t.Errorf("state %+v, want epoch %s", got, is)
	}
	isStored(t, readLog(t, log), 1, 11)
	appendTo(t, log, 11, 12)
}
