package sqlitelog

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// Another directory that takes the place of the log's belongs to the process that has
// locked it: nothing is written there. When that process has ended, the log uses the
// files in the directory.
func TestDirectoryOfAnother(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 11)
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Fatal(err)
	}
	other := openLog(t, dir, Options{})
	addMany(t, other, 1, 21)
	_, err := log.Append(t.Context(), newRecord("x"), "")
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("append: %v", err)
	}
	await(t, "the reason", func() bool { return errors.Is(log.Err(), ErrInUse) })
	addMany(t, other, 21, 31)
	state := stateOf(t, other)
	closeLog(t, other)
	await(t, "recovery", func() bool { return log.Err() == nil })
	if got := stateOf(t, log); got != state {
		t.Errorf("state %+v, the other's %+v", got, state)
	}
	if third, err := Open(t.Context(), dir, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a third process: %v, %v", third, err)
	}
}

// The copy of the files is the same as the files that were found, even if an earlier
// process could not sync, and is written to the disk first.
func TestAsideIsWhatWasFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	before := stateOf(t, log)
	addMany(t, log, 1, 51)
	killed := copyFiles(t, dir)
	ev, ok, err := readEvidence(killed)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	store, err := openEvidence(killed, ev)
	if err != nil {
		t.Fatal(err)
	}
	ev.Failed = true
	if err := errors.Join(store.write(ev), store.close()); err != nil {
		t.Fatal(err)
	}
	wal := filepath.Join(killed, DatabaseFile+walSuffix)
	want, err := os.ReadFile(wal)
	if err != nil {
		t.Fatal(err)
	}
	want[len(want)/2] ^= 1 // SQLite drops the frames from here on
	if err := os.WriteFile(wal, want, 0o600); err != nil {
		t.Fatal(err)
	}
	again := openLog(t, killed, Options{})
	if got := stateOf(t, again); got.Epoch == before.Epoch || got.Next >= 51 {
		t.Errorf("state %+v, before %+v", got, before)
	}
	aside, err := filepath.Glob(filepath.Join(killed, "damaged-*", DatabaseFile+walSuffix))
	if err != nil || len(aside) != 1 {
		t.Fatal(aside, err)
	}
	if got, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(got, want) {
		t.Errorf("aside: %d bytes, %v; found: %d bytes", len(got), err, len(want))
	}
	if got := add(t, again, "more", ""); got.Offset != stateOf(t, again).Next-1 {
		t.Errorf("append: %+v", got)
	}
}

// An error that is no damage fails the read: its records are not taken for damaged.
func TestReadFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	addMany(t, log, 1, 11)
	epoch := stateOf(t, log).Epoch
	execute(t, dir, "ALTER TABLE messages RENAME TO others")
	if got, err := log.Read(t.Context(), epoch, 1, 11, 1<<20); err == nil {
		t.Errorf("read: %+v", got)
	}
	execute(t, dir, "ALTER TABLE others RENAME TO messages")
	var got chatsvc.Chunk
	await(t, "the read", func() (ok bool) {
		var err error
		got, err = log.Read(t.Context(), epoch, 1, 11, 1<<20)
		return err == nil
	})
	if len(got.Entries) != 10 {
		t.Errorf("%d records", len(got.Entries))
	}
}
