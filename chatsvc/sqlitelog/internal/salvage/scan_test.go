package salvage_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

const count = 400

// In both files of a running server, and with each of them alone, everything that
// is in it is found as it was stored.
func TestRowsOfIntactFiles(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, 301)
	d.exec("PRAGMA wal_checkpoint(RESTART)")
	d.insert(301, count+1)
	db, wal := d.read()

	want := map[uint64]salvage.Row{}
	for offset := uint64(1); offset <= count; offset++ {
		want[offset] = message(offset)
	}
	same(t, rows(t, db, wal), want)
	if places := rows(t, db, wal); places[1].Place != salvage.Database || places[count].Place != salvage.Committed {
		t.Errorf("row 1 is in %v, row %d in %v", places[1].Place, count, places[count].Place)
	}
	for offset := uint64(301); offset <= count; offset++ {
		delete(want, offset)
	}
	same(t, rows(t, db, nil), want)
}

// same compares the rows that were found with those that must be.
func same(tb testing.TB, found map[uint64]salvage.Found, want map[uint64]salvage.Row) {
	tb.Helper()
	for offset, row := range want {
		got, ok := found[offset]
		if len(got.Content) == 0 {
			got.Content = row.Content
		}
		if !ok || !reflect.DeepEqual(got.Row, row) {
			tb.Fatalf("row %d was found: %v; is\n%+v\nwant\n%+v", offset, ok, got.Row, row)
		}
	}
	if len(found) != len(want) {
		tb.Errorf("%d rows were found, want %d", len(found), len(want))
	}
}

// A newer version of a row comes after an older one, wherever they are.
func TestVersions(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, 50)
	d.exec("PRAGMA wal_checkpoint(RESTART)") // the WAL still has them, but they are stale
	empty := salvage.Row{Offset: 7, Stored: message(7).Stored, Total: message(7).Total}
	empty.Checksum = sum(empty)
	d.put(empty)
	db, wal := d.read()
	if got := rows(t, db, wal)[7]; got.Place != salvage.Committed || got.Sender != "" {
		t.Errorf("row 7 is %+v", got)
	}
	if got := rows(t, db, nil)[7]; got.Place != salvage.Database || got.Sender == "" {
		t.Errorf("in the database alone row 7 is %+v", got)
	}
	if got := rows(t, nil, wal)[8]; got.Offset != 8 {
		t.Errorf("in the WAL alone row 8 is %+v", got)
	}
}

// Frames that no commit follows are marked: their rows may have been refused.
func TestOpenTransaction(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, 20)
	d.exec("PRAGMA cache_size=10")
	d.exec("BEGIN")
	for offset := uint64(20); offset < 3000; offset++ { // more than the cache holds
		d.put(message(offset))
	}
	db, wal := d.read()
	found := rows(t, db, wal)
	if len(found) < 30 {
		t.Fatalf("only %d rows: the transaction was not spilled", len(found))
	}
	for offset, f := range found {
		if (f.Place == salvage.Open) != (offset >= 20) {
			t.Errorf("row %d is in %v", offset, f.Place)
		}
	}
	d.exec("ROLLBACK")
}

// Damage costs the rows whose own bytes it hits, and nothing that was never stored
// is found.
func TestDamage(t *testing.T) { //nolint:tparallel // the subtests share the random numbers
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, 301)
	d.exec("PRAGMA wal_checkpoint(RESTART)")
	d.insert(301, count+1)
	db, wal := d.read()
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		name   string
		damage func(db, wal []byte) ([]byte, []byte)
		lost   int // at most
	}{
		{"header of the database", func(db, wal []byte) ([]byte, []byte) { return zero(db, 0, 100), wal }, 0},
		{"page size", func(db, wal []byte) ([]byte, []byte) { db[16] ^= 0x10; return db, wal }, 0},
		{"first page", func(db, wal []byte) ([]byte, []byte) { return zero(db, 0, 8192), wal }, 0},
		{"header of the WAL", func(db, wal []byte) ([]byte, []byte) { return db, zero(wal, 0, 32) }, 0},
		{"salts in the header of the WAL", func(db, wal []byte) ([]byte, []byte) { wal[17] ^= 4; return db, wal }, 0},
		{"header of a frame", func(db, wal []byte) ([]byte, []byte) { return db, zero(wal, 32+3*(24+8192), 24) }, 10},
		{"checksum of a frame", func(db, wal []byte) ([]byte, []byte) { wal[32+16] ^= 1; return db, wal }, 0},
		{"heads of all pages", func(db, wal []byte) ([]byte, []byte) {
			for at := 8192; at < len(db); at += 8192 {
				if kind := db[at]; kind == 0x0d || kind == 0x05 {
					zero(db, at, 8)
				}
			}
			return db, wal
		}, 0},
		{"cut by a byte", func(db, wal []byte) ([]byte, []byte) { return db[:len(db)-1], wal[:len(wal)-1] }, 20},
		{"a bit of the database", func(db, wal []byte) ([]byte, []byte) {
			db[random.IntN(len(db))] ^= 1 << random.IntN(8)
			return db, wal
		}, 1},
		{"a bit of the WAL", func(db, wal []byte) ([]byte, []byte) {
			wal[random.IntN(len(wal))] ^= 1 << random.IntN(8)
			return db, wal
		}, 10},
		{"a page of the database", func(db, wal []byte) ([]byte, []byte) {
			return zero(db, random.IntN(len(db)/8192)*8192, 8192), wal
		}, 60},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 10 {
				found := rows2(t, tt.damage, db, wal)
				for offset, f := range found {
					if want := message(offset); f.Checksum != want.Checksum || offset > count {
						t.Errorf("row %d was invented", offset)
					}
				}
				if lost := count - len(found); lost > tt.lost {
					t.Errorf("%d rows are lost, more than %d", lost, tt.lost)
				}
			}
		})
	}
}

func rows2(tb testing.TB, damage func(db, wal []byte) ([]byte, []byte), db, wal []byte) map[uint64]salvage.Found {
	tb.Helper()
	db, wal = damage(slices.Clone(db), slices.Clone(wal))
	return rows(tb, db, wal)
}

func zero(b []byte, at, n int) []byte {
	clear(b[at : at+n])
	return b
}

func TestEpochs(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	long := strings.Repeat("x", 128)
	d.exec("INSERT INTO epochs VALUES (12345, ?)", long)
	db, wal := d.read()
	var got []salvage.Epoch
	err := salvage.Epochs(t.Context(), file(db), file(wal), func(e salvage.Epoch) { got = append(got, e) })
	if want := []salvage.Epoch{{1, "EPOCH"}, {12345, long}, {1, "EPOCH"}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("epochs %v, %v", got, err)
	}
}

// A part of the file that the storage cannot read is stepped over.
func TestUnreadablePages(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, count+1)
	d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	db, _ := d.read()
	broken := file(db)
	broken.Reader = brokenPage{broken.Reader, 8192 * 5}
	var found int
	report, err := salvage.Rows(t.Context(), broken, salvage.File{}, prove, func(salvage.Found) error { found++; return nil }, nil)
	if err != nil || report.Unreadable == 0 || found < count/2 || found >= count {
		t.Errorf("%d rows, %+v, %v", found, report, err)
	}
}

type brokenPage struct {
	io.ReaderAt

	at int64
}

func (b brokenPage) ReadAt(p []byte, at int64) (int, error) {
	if at <= b.at && b.at < at+int64(len(p)) {
		return 0, errors.New("input/output error")
	}
	return b.ReaderAt.ReadAt(p, at)
}

func TestRowsEnds(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.insert(1, 10)
	db, wal := d.read()
	enough := errors.New("enough")
	if _, err := salvage.Rows(t.Context(), file(db), file(wal), prove, func(salvage.Found) error { return enough }, nil); !errors.Is(err, enough) {
		t.Errorf("after an error of yield: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := salvage.Rows(ctx, file(db), file(wal), prove, func(salvage.Found) error { return nil }, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("when the context is done: %v", err)
	}
}
