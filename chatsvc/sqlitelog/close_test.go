package sqlitelog

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc"
)

// A read that began before Close opens no connection after it. Otherwise SQLite's files
// would exist again, and stay open.
func TestReadersStayClosed(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir(), Options{})
	addMany(t, log, 1, 10)
	epoch := stateOf(t, log).Epoch
	closeLog(t, log)
	for range 2 * readerCount {
		if conn, err := log.readers.acquire(t.Context()); !errors.Is(err, ErrClosed) {
			t.Fatalf("a connection %v after Close: %v", conn, err)
		}
	}
	if _, err := log.Read(t.Context(), epoch, 1, math.MaxUint64, 1<<20); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// Close writes all to the disk, also while another process reads the write-ahead log and
// keeps it from being emptied.
func TestCloseWhileAnotherProcessReads(t *testing.T) {
	t.Parallel()
	for _, interval := range []time.Duration{0, time.Hour} {
		t.Run(fmt.Sprint(interval), func(t *testing.T) {
			t.Parallel()
			m := newMachine()
			dir, opts := t.TempDir(), Options{SyncInterval: interval, system: m.system()}
			log := openLog(t, dir, opts)
			addMany(t, log, 1, 10)
			state := stateOf(t, log)
			other, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadOnly, "")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if err := pragma(other, "BEGIN", "SELECT count(*) FROM messages"); err != nil {
				t.Fatal(err)
			}
			addMany(t, log, 10, 20)
			if err := log.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			m.bootID = "another" // data that was not on the disk would be lost
			again := stateOf(t, openLog(t, dir, opts))
			if again.Epoch != state.Epoch || again.Next != 20 {
				t.Errorf("%+v after %+v", again, state)
			}
		})
	}
}

// A backup in which SQLite finds damage is not kept.
func TestBackupIsChecked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 10)
	closeLog(t, log)
	change := func(statements ...string) {
		t.Helper()
		conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadWrite, "")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(pragma(conn, statements...), conn.Close()); err != nil {
			t.Fatal(err)
		}
	}
	// VACUUM INTO copies a row that breaks a constraint.
	change("PRAGMA writable_schema = ON", "UPDATE sqlite_schema SET sql = replace(sql, 'sender    TEXT    NOT NULL', 'sender    TEXT            ')")
	change(`UPDATE messages SET sender = NULL WHERE "offset" = 5`)
	change("PRAGMA writable_schema = ON", "UPDATE sqlite_schema SET sql = replace(sql, 'sender    TEXT            ', 'sender    TEXT    NOT NULL')")
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := Backup(t.Context(), dir, file, nil); err == nil || !strings.Contains(err.Error(), "log export") {
		t.Errorf("backup: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); len(left) > 0 {
		t.Errorf("it has left %v", left)
	}
}

// An import has a row for each offset, so that a start finds no hole, and need not look
// for damage.
func TestImportFillsGaps(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	in, err := NewImport(dir, "EPOCH")
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []uint64{100, 101, 150, 300} {
		if err := in.Add(t.Context(), chatsvc.Entry{Offset: offset, Record: newRecord(fmt.Sprint(offset)), Time: time.UnixMilli(1)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := in.Finish(t.Context(), 400); err != nil {
		t.Fatal(err)
	}
	conn, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadOnly, "")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	w := &writer{conn: conn, next: 400}
	if w.floor.offset = 100; w.hasHole() {
		t.Error("the import has a hole")
	}
	if rows, _, err := queryInt(conn, "SELECT count(*) FROM messages"); err != nil || rows != 300 {
		t.Errorf("%d rows, %v", rows, err)
	}
	got, err := openLog(t, dir, Options{}).Read(t.Context(), "EPOCH", 100, 400, 1<<20)
	if err != nil || got.Next != 400 || len(got.Entries) != 300 {
		t.Errorf("%d entries to %d, %v", len(got.Entries), got.Next, err)
	}
}
