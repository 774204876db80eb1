package salvage_test

import (
	"testing"

	"example.com/simplechat/chatsvc/sqlitelog/internal/salvage"
)

// maxPage is the largest page that SQLite can have, in bytes.
const maxPage = 64 << 10

// For all contents of the files, the calls do not panic, they end, and they yield only
// proven rows. Small pages make long chains.
func FuzzRows(f *testing.F) {
	d := newDatabase(f)
	d.exec("PRAGMA journal_mode=DELETE")
	d.exec("PRAGMA page_size=512")
	d.exec("VACUUM")
	d.exec("PRAGMA journal_mode=WAL")
	long := message(1)
	long.Content = make([]byte, 1500)
	long.Checksum = sum(long)
	d.put(long)
	d.put(message(2))
	db, wal := d.read()
	f.Add(db, wal)
	d.exec("PRAGMA wal_checkpoint(TRUNCATE)")
	db, _ = d.read()
	f.Add(db, []byte(nil))
	// A record of 1,500 bytes in a file that was cut within its first page.
	f.Add([]byte("0"), append(make([]byte, 56), "\x8cF0\v\x00\x05\x06\x81\x19\x01\x02\x06\x97D"...))
	f.Fuzz(func(t *testing.T, db, wal []byte) {
		proven := map[uint64]bool{}
		prove := func(r salvage.Row) bool {
			// Each file may end with a cut page, which ends in zeros.
			if most := len(db) + len(wal) + 2*maxPage; len(r.Content) > most {
				t.Errorf("%d bytes of content out of %d", len(r.Content), most)
			}
			proven[r.Offset] = r.Offset%2 == 0
			return proven[r.Offset]
		}
		_, err := salvage.Rows(t.Context(), file(db), file(wal), prove, func(f salvage.Found) error {
			if !proven[f.Offset] {
				t.Errorf("row %d was not proven", f.Offset)
			}
			return nil
		}, nil)
		if err != nil {
			t.Error(err)
		}
		if err := salvage.Epochs(t.Context(), file(db), file(wal), func(salvage.Epoch) {}); err != nil {
			t.Error(err)
		}
	})
}
