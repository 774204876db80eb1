package jetlog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
)

// smallFiles makes the NATS server begin another message file after 4 MB.
var smallFiles = Options{Retention: chatsvc.Retention{Bytes: 12 << 20}}

// cutAtRollover returns a data directory as a power cut may leave it while two
// appends are written and not synced, the first at the end of 1.blk and the other
// in 2.blk, where 2.blk and the keys have reached the disk first. The records
// before lost were acknowledged.
func cutAtRollover(t *testing.T) (dir string, lost uint64) {
	t.Helper()
	from, dir := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	l := openLog(t, from, smallFiles)
	b := newBlocks(l.engine.dir.store(), l.stream)
	var size int64  // of 1.blk without its last record
	var mark []byte // from before that record
	for next := int64(0); ; lost++ {
		if _, err := os.Stat(b.path(2)); err == nil {
			break
		}
		size = next
		info, err := os.Stat(b.path(1))
		if err != nil {
			t.Fatal(err)
		}
		next = info.Size()
		before, err := os.ReadFile(l.engine.dir.markPath())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Append(t.Context(), make([]byte, 100<<10), fmt.Sprint("key ", lost+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(b.path(2)); err != nil {
			mark = before
		}
	}
	lost-- // the last one is in 2.blk
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	b = newBlocks(filepath.Join(dir, storeDir), embeddedStream)
	if err := os.Truncate(b.path(1), size); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, markFile), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, lost
}

// A power cut where one message file ends and the next begins leaves no gap: a
// service would drop what was acknowledged before it. A sender that had no answer
// yet sends again, and its record is stored.
func TestPowerCutAtRolloverLeavesNoGap(t *testing.T) {
	t.Parallel()
	dir, lost := cutAtRollover(t)
	l := openLog(t, dir, smallFiles)
	defer closeLog(t, l)
	state, err := l.State(t.Context())
	if err != nil || state.First != 1 || state.Next != lost {
		t.Fatalf("%+v, %v, records 1 to %d were acknowledged", state, err, lost-1)
	}
	got, err := l.Append(t.Context(), []byte("again"), fmt.Sprint("key ", lost))
	if err != nil || got != (chatsvc.Appended{Offset: lost}) {
		t.Errorf("%+v, %v, a new record at %d was due", got, err, lost)
	}
	checkWhole(t, l, lost)
}

// Where a record is missing that was acknowledged, nothing behind it is removed.
func TestAcknowledgedRecordsBehindGapStay(t *testing.T) {
	t.Parallel()
	dir, lost := cutAtRollover(t)
	m, err := readMark(filepath.Join(dir, markFile))
	if err != nil {
		t.Fatal(err)
	}
	m.Offset = lost + 1
	w, err := openMark(filepath.Join(dir, markFile), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.file.Close(); err != nil {
		t.Fatal(err)
	}
	l := openLog(t, dir, smallFiles)
	defer closeLog(t, l)
	if state, err := l.State(t.Context()); err != nil || state.Next != lost+2 {
		t.Errorf("%+v, %v, record %d was acknowledged", state, err, lost+1)
	}
}

var errSeen = errors.New("seen")

// checkWhole follows the log to offset last, and checks that none is missing.
func checkWhole(t *testing.T, l *Log, last uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	due := uint64(1)
	err := l.Follow(ctx, due, func(e chatsvc.Entry) error {
		if e.Offset != due || len(e.Record) == 0 {
			t.Errorf("offset %d with %d bytes came where %d was due", e.Offset, len(e.Record), due)
		}
		if due = e.Offset + 1; due > last {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Error(err)
	}
}

// After a power cut the index of the message files may tell of records that never
// reached the disk: their offsets are given again, and leave no gap.
func TestIndexIsNotTrustedAfterPowerCut(t *testing.T) {
	t.Parallel()
	from, dir := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "data")
	l := openLog(t, from, Options{})
	add := func(l *Log, want uint64) {
		t.Helper()
		if got, err := l.Append(t.Context(), []byte("x"), ""); err != nil || got.Offset != want {
			t.Errorf("%+v, %v, offset %d was due", got, err, want)
		}
	}
	for offset := range uint64(3) {
		add(l, offset+1)
	}
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	add(l, 4)
	add(l, 5)
	closeLog(t, l) // the server writes its index
	index, err := os.ReadFile(filepath.Join(newBlocks(filepath.Join(from, storeDir), embeddedStream).dir, indexFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(newBlocks(filepath.Join(dir, storeDir), embeddedStream).dir, indexFile), index, 0o600); err != nil {
		t.Fatal(err)
	}
	// The cut has torn the mark: nothing else tells what was acknowledged.
	if err := os.WriteFile(filepath.Join(dir, markFile), make([]byte, markSize), 0o600); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, dir, Options{})
	defer closeLog(t, l)
	add(l, 4)
	checkWhole(t, l, 4)
}
