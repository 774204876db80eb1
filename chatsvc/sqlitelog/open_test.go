package sqlitelog

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/nosecret"
)

// machine is the machine that a log believes to run on.
type machine struct {
	bootID string
	mono   atomic.Int64 // milliseconds
	offset atomic.Int64 // of the wall clock, in milliseconds beyond mono
}

func newMachine() *machine {
	m := &machine{bootID: "boot"}
	m.offset.Store(1_790_000_000_000)
	return m
}

func (m *machine) system() *system {
	return &system{
		boot:    func() string { return m.bootID },
		elapsed: func() time.Duration { return time.Duration(m.mono.Load()) * time.Millisecond },
		wall:    func() time.Time { return time.UnixMilli(m.mono.Load() + m.offset.Load()) },
		room:    func(string, int64) error { return nil },
		sync:    syncData,
	}
}

func openLog(tb testing.TB, dir string, opts Options) *Log {
	tb.Helper()
	log, err := Open(tb.Context(), dir, opts)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = log.Close() })
	return log
}

func closeLog(tb testing.TB, log *Log) {
	tb.Helper()
	if err := log.Close(); err != nil {
		tb.Fatalf("close: %v", err)
	}
}

func newRecord(content string) []byte {
	return record.Message{Timestamp: 1, Content: []byte(content), Type: 1, From: "user1"}.Append(nil)
}

func add(tb testing.TB, log *Log, content, key string) chatsvc.Appended {
	tb.Helper()
	got, err := log.Append(tb.Context(), newRecord(content), key)
	if err != nil {
		tb.Fatalf("append %q: %v", content, err)
	}
	return got
}

func addMany(tb testing.TB, log *Log, from, to int) {
	tb.Helper()
	for n := from; n < to; n++ {
		add(tb, log, fmt.Sprint(n), "")
	}
}

func stateOf(tb testing.TB, log *Log) chatsvc.State {
	tb.Helper()
	state, err := log.State(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return state
}

// contents returns the contents of all records by offset.
func contents(tb testing.TB, log *Log) map[uint64]string {
	tb.Helper()
	got := make(map[uint64]string)
	state := stateOf(tb, log)
	for at := uint64(1); at < state.Next; {
		c, err := log.Read(tb.Context(), state.Epoch, at, math.MaxUint64, 1000)
		if err != nil {
			tb.Fatal(err)
		}
		for _, e := range c.Entries {
			m, err := record.Parse(e.Record)
			if err != nil {
				tb.Fatal(err)
			}
			got[e.Offset] = string(m.Content)
		}
		if c.Next <= at {
			tb.Fatalf("read at %d: %d to %d", at, c.From, c.Next)
		}
		at = c.Next
	}
	return got
}

// copyFiles copies the files of a directory into a new one, as they are, like the files
// of a killed process.
func copyFiles(tb testing.TB, dir string) string {
	tb.Helper()
	to := tb.TempDir()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() && e.Name() != lockFile && !strings.HasSuffix(e.Name(), shmSuffix) {
			if err := copyFile(filepath.Join(dir, e.Name()), filepath.Join(to, e.Name())); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return to
}

// await polls until ok returns true.
func await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for deadline := time.Now().Add(60 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			tb.Fatalf("%s never happened", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// A process that is killed loses nothing that it has acknowledged.
func TestKilled(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, time.Hour} {
		t.Run(interval.String(), func(t *testing.T) {
			t.Parallel()
			machine := newMachine()
			opts := Options{SyncInterval: interval, system: machine.system()}
			dir := t.TempDir()
			log := openLog(t, dir, opts)
			addMany(t, log, 1, 100)
			keyed := add(t, log, "keyed", "key")
			before := stateOf(t, log)
			again := openLog(t, copyFiles(t, dir), opts)
			if got := stateOf(t, again); got != before {
				t.Errorf("state %+v, before %+v", got, before)
			}
			if got := contents(t, again); len(got) != 100 || got[50] != "50" {
				t.Errorf("%d records", len(got))
			}
			if got := add(t, again, "keyed", "key"); got != (chatsvc.Appended{Epoch: before.Epoch, Offset: keyed.Offset, Duplicate: true}) {
				t.Errorf("the key again: %+v", got)
			}
			machine.bootID = "another" // a power cut
			cut := openLog(t, copyFiles(t, dir), opts)
			if got := stateOf(t, cut); (got.Epoch == before.Epoch) != (interval == 0) || got.Next != before.Next {
				t.Errorf("after a power cut: %+v, before %+v", got, before)
			}
		})
	}
}

// A database that contradicts the evidence is copied aside and gets another epoch. Its
// records stay.
func TestEvidence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(t *testing.T, dir, older, other string)
		next   uint64 // the next offset afterwards
		aside  bool
	}{
		"an older database": {func(t *testing.T, dir, older, _ string) { restore(t, older, dir, DatabaseFile) }, 51, true},
		"another database":  {func(t *testing.T, dir, _, other string) { restore(t, other, dir, DatabaseFile) }, 101, true},
		"no evidence":       {func(t *testing.T, dir, _, _ string) { remove(t, dir, evidenceFile) }, 101, true},
		"damaged evidence": {func(t *testing.T, dir, _, _ string) {
			if err := os.WriteFile(filepath.Join(dir, evidenceFile), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, 101, true},
		"no database": {func(t *testing.T, dir, _, _ string) { remove(t, dir, DatabaseFile) }, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := &chattest.Buffer{}
			opts := Options{Logger: nosecret.Logger(t, out)}
			dir, otherDir := t.TempDir(), t.TempDir()
			log, other := openLog(t, dir, opts), openLog(t, otherDir, Options{})
			before := stateOf(t, log)
			addMany(t, log, 1, 51)
			closeLog(t, log)
			older := copyFiles(t, dir)
			log = openLog(t, dir, opts)
			if got := stateOf(t, log); got.Epoch != before.Epoch {
				t.Fatalf("a clean start changes the epoch: %s", out)
			}
			addMany(t, log, 51, 101)
			closeLog(t, log)
			addMany(t, other, 1, 101)
			closeLog(t, other)
			test.change(t, dir, older, otherDir)
			log = openLog(t, dir, opts)
			after := stateOf(t, log)
			if after.Epoch == before.Epoch || after.Next != test.next {
				t.Errorf("state %+v, before %+v", after, before)
			}
			if got := contents(t, log); len(got) != int(test.next)-1 {
				t.Errorf("%d records", len(got))
			}
			if !strings.Contains(out.String(), "acknowledged messages are missing") {
				t.Errorf("logged: %s", out)
			}
			if aside, _ := filepath.Glob(filepath.Join(dir, "damaged-*", DatabaseFile)); len(aside) == 1 != test.aside {
				t.Errorf("copied aside: %v", aside)
			}
			if got := add(t, log, "more", ""); got.Offset != test.next {
				t.Errorf("the next record: %+v", got)
			}
			closeLog(t, log)
			log = openLog(t, dir, opts)
			if got := stateOf(t, log); got.Epoch != after.Epoch || got.Next != test.next+1 {
				t.Errorf("the next start: %+v", got)
			}
			if got := contents(t, log); len(got) != int(test.next) {
				t.Errorf("%d records after the next start", len(got))
			}
		})
	}
}

// restore puts a file of an older copy back, as cp does.
func restore(t *testing.T, from, to, name string) {
	t.Helper()
	remove(t, to, name)
	if err := copyFile(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

// Files that are removed, replaced or cut while they are open are noticed before
// anything more is acknowledged. The history stays readable, and when they are put
// back the log continues.
func TestFilesChangedWhileOpen(t *testing.T) {
	t.Parallel()
	for _, name := range []string{DatabaseFile, DatabaseFile + walSuffix, "."} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			var lines chattest.Buffer
			log := openLog(t, dir, Options{Logger: slog.New(slog.NewTextHandler(&lines, nil))})
			before := stateOf(t, log)
			addMany(t, log, 1, 51)
			path := filepath.Join(dir, name)
			away := path + "-away"
			if name == "." {
				away = dir + "-away"
				path = dir
			}
			if err := os.Rename(path, away); err != nil {
				t.Fatal(err)
			}
			got, err := log.Append(t.Context(), newRecord("x"), "")
			isWAL := strings.HasSuffix(name, walSuffix) // its content is saved into the database, and another one begins
			if isWAL && (err != nil || got.Offset != 51) || !isWAL && (connect.CodeOf(err) != connect.CodeUnavailable || log.Err() == nil) {
				t.Fatalf("append without %s: %+v, %v; %v", name, got, err, log.Err())
			}
			if got, err := log.Read(t.Context(), before.Epoch, 1, 51, 1<<20); err != nil || len(got.Entries) != 50 {
				t.Errorf("read: %d records, %v", len(got.Entries), err)
			}
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) && !isWAL {
				t.Errorf("something was made in its place: %v", err)
			}
			if err := os.Rename(away, path); err != nil {
				t.Fatal(err)
			}
			await(t, "recovery", func() bool { return log.Err() == nil })
			await(t, "a line about it", func() bool { return isWAL || strings.Contains(lines.String(), "messages can be stored again") })
			after := stateOf(t, log)
			if after.Epoch != before.Epoch || after.Next < 51 || after.Next > 52 {
				t.Errorf("state %+v, before %+v", after, before)
			}
			if got := add(t, log, "y", ""); got.Offset != after.Next {
				t.Errorf("append: %+v", got)
			}
			if got := contents(t, log); got[50] != "50" || got[after.Next] != "y" {
				t.Errorf("contents %v", got)
			}
		})
	}
}

// The write-ahead log that is cut takes acknowledged records along: the log gets
// another epoch, and says so.
func TestCutWhileOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	before := stateOf(t, log)
	addMany(t, log, 1, 51)
	wal := filepath.Join(dir, DatabaseFile+walSuffix)
	size, err := os.Stat(wal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(wal, size.Size()/2); err != nil {
		t.Fatal(err)
	}
	await(t, "the notice", func() bool { return stateOf(t, log).Epoch != before.Epoch && log.Err() == nil })
	after := stateOf(t, log)
	if after.Next >= 51 || after.Next < 2 {
		t.Errorf("state %+v, before %+v", after, before)
	}
	for offset, content := range contents(t, log) {
		if content != fmt.Sprint(offset) {
			t.Errorf("record %d is %q", offset, content)
		}
	}
	if _, err := log.Read(t.Context(), before.Epoch, 1, 2, 1); !errors.Is(err, chatsvc.ErrEpoch) {
		t.Errorf("read in the old epoch: %v", err)
	}
}

// Nobody else may read the files.
func TestModes(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		return // it has no such modes
	}
	dir := filepath.Join(t.TempDir(), "data")
	addMany(t, openLog(t, dir, Options{}), 1, 10)
	for name, want := range map[string]os.FileMode{
		".": 0o700, DatabaseFile: 0o600, DatabaseFile + walSuffix: 0o600, DatabaseFile + shmSuffix: 0o600, evidenceFile: 0o600,
	} {
		if is, err := os.Stat(filepath.Join(dir, name)); err != nil || is.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, is, err)
		}
	}
}

// Another program that empties the write-ahead log does no harm.
func TestCheckpointElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	before := stateOf(t, log)
	for n := range uint64(20) {
		execute(t, dir, "PRAGMA wal_checkpoint(TRUNCATE)")
		if got := add(t, log, fmt.Sprint(n+1), ""); got.Offset != n+1 {
			t.Fatalf("append %d: %+v", n+1, got)
		}
	}
	if got := stateOf(t, log); got.Epoch != before.Epoch {
		t.Errorf("state %+v, before %+v", got, before)
	}
	if got := contents(t, log); len(got) != 20 || got[7] != "7" {
		t.Errorf("%v", got)
	}
}

// A start refuses foreign files, and says what to do.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string
	}{
		"a newer schema":    {func(t *testing.T, dir string) { execute(t, dir, "PRAGMA user_version = 99") }, "newer version"},
		"another program's": {func(t *testing.T, dir string) { execute(t, dir, "PRAGMA application_id = 7") }, "another program"},
		"an unreleased format": {func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, jetStreamDir), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "unreleased version"},
		"one in use": {func(t *testing.T, dir string) { openLog(t, dir, Options{}) }, "another process uses it"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			closeLog(t, openLog(t, dir, Options{}))
			test.prepare(t, dir)
			if log, err := Open(t.Context(), dir, Options{}); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("open: %v, %v", log, err)
			}
		})
	}
}

// execute changes a database as another program would.
func execute(t *testing.T, dir string, statements ...string) {
	t.Helper()
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := pragma(conn, statements...); err != nil {
		t.Fatal(err)
	}
}

// A row that differs from the stored one is left out, and hides nothing around it.
func TestDamagedRow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 101)
	closeLog(t, log)
	execute(t, dir, `UPDATE messages SET content = 'forged' WHERE "offset" = 40`, `DELETE FROM messages WHERE "offset" = 60`)
	log = openLog(t, dir, Options{})
	got := contents(t, log)
	if len(got) != 98 || got[40] != "" || got[60] != "" || got[39] != "39" || got[61] != "61" {
		t.Errorf("%d records: %v", len(got), got)
	}
}

// A record that another process has redacted is an empty one for those that follow.
func TestRedactedElsewhere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 11)
	told := make(chan uint64, 1)
	go func() {
		_ = log.Follow(t.Context(), stateOf(t, log).Epoch, 11, func(c chatsvc.Chunk) error {
			for _, offset := range c.Redacted {
				told <- offset
			}
			return nil
		})
	}()
	r := row{offset: 5, total: 1}
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sum, _, err := queryInt(conn, `SELECT total FROM messages WHERE "offset" = 5`)
	if err != nil {
		t.Fatal(err)
	}
	r.total = sum
	r.checksum = r.sum(stateOf(t, log).Epoch)
	if err := pragma(conn, "BEGIN",
		fmt.Sprintf(`UPDATE messages SET stored = 0, timestamp = 0, sender = '', type = 0, content = x'', checksum = %d WHERE "offset" = 5`, r.checksum),
		`INSERT INTO redactions VALUES (5, 0)`, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if offset := <-told; offset != 5 {
		t.Errorf("told of %d", offset)
	}
	if got := contents(t, log); len(got) != 10 || got[5] != "" || got[4] != "4" {
		t.Errorf("%v", got)
	}
}

// No step of the wall clock makes the log forget a key or a record early, or keep one
// long.
func TestClockSteps(t *testing.T) {
	t.Parallel()
	const hour = int64(time.Hour / time.Millisecond)
	for name, step := range map[string]int64{"none": 0, "forwards": 1000 * hour, "backwards": -1000 * hour} {
		for _, isRestarted := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", restarted ", isRestarted), func(t *testing.T) {
				t.Parallel()
				machine := newMachine()
				opts := Options{Retention: chatsvc.Retention{Age: time.Hour}, system: machine.system()}
				dir := t.TempDir()
				log := openLog(t, dir, opts)
				change := func() {
					machine.offset.Add(step)
					if isRestarted {
						closeLog(t, log)
						log = openLog(t, dir, opts)
					}
				}
				first := add(t, log, "first", "key")
				machine.mono.Add(60_000)
				change()
				if got := add(t, log, "first", "key"); got != (chatsvc.Appended{Epoch: first.Epoch, Offset: first.Offset, Duplicate: true}) {
					t.Errorf("the key after a minute: %+v", got)
				}
				machine.mono.Add(61_000)
				if got := add(t, log, "second", "key"); got.Duplicate {
					t.Errorf("the key after two minutes: %+v", got)
				}
				machine.mono.Add(hour - 121_000 - 1000)
				change()
				if got := stateOf(t, log); got.First != 1 {
					t.Errorf("state within the hour: %+v", got)
				}
				machine.mono.Add(1000)
				await(t, "expiry", func() bool { return stateOf(t, log).First == 2 })
				machine.mono.Add(hour)
				await(t, "expiry of all", func() bool { return stateOf(t, log).First == 3 })
				change()
				if got := stateOf(t, log); got.First != 3 || got.Next != 3 {
					t.Errorf("state when all has expired: %+v", got)
				}
				if got := add(t, log, "third", ""); got.Offset != 3 {
					t.Errorf("append: %+v", got)
				}
			})
		}
	}
}

// Messages beyond the retention leave the file, which becomes smaller. A lower retention
// applies from the next start on.
func TestRetentionFreesTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	large := strings.Repeat("x", 100_000)
	for range 200 {
		add(t, log, large, "")
	}
	closeLog(t, log)
	path := filepath.Join(dir, DatabaseFile)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	log = openLog(t, dir, Options{Retention: chatsvc.Retention{Bytes: 1_000_000}})
	if got := stateOf(t, log); got.First != 201-9 || got.Next != 201 {
		t.Errorf("state %+v", got)
	}
	await(t, "a smaller file", func() bool {
		add(t, log, large, "")
		is, err := os.Stat(path)
		return err == nil && is.Size() < before.Size()/2
	})
	closeLog(t, log)
	if is, err := os.Stat(path + walSuffix); err == nil && is.Size() > 0 {
		t.Errorf("%d bytes of a write-ahead log are left", is.Size())
	}
}

// A database from the time before the first message, in the place of one with messages, is not
// taken for one whose messages have expired.
func TestOlderDatabaseWithoutMessages(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	before := stateOf(t, log)
	closeLog(t, log)
	older := copyFiles(t, dir)
	log = openLog(t, dir, Options{})
	addMany(t, log, 1, 6)
	closeLog(t, log)
	restore(t, older, dir, DatabaseFile)
	log = openLog(t, dir, Options{})
	if got := stateOf(t, log); got.Epoch == before.Epoch || got.Next != 1 {
		t.Errorf("state %+v, before %+v", got, before)
	}
}
