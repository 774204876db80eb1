package sqlitelog_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"example.com/simplechat/chatsvc/internal/record"
	"example.com/simplechat/chatsvc/sqlitelog"
)

// rowsOfALeaf is how many rows a page of the tests' records has at most.
const rowsOfALeaf = 80

// Where a bit of a page's head, of its directory or of a row is turned over, everything
// on other pages is served, in order and at its place, and so is what is sent then.
func TestFlippedBits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir)
	epoch := stateOf(t, log).Epoch
	appendTo(t, log, 1, messages+1)
	closeLog(t, log)
	intact, err := os.ReadFile(filepath.Join(dir, "chat.db"))
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]struct {
		kind byte
		lost int
	}{"leaf": {13, rowsOfALeaf}, "interior": {5, messages}}
	for name, kind := range kinds {
		for seed := range uint64(2) {
			page := pageOf(kind.kind)(intact, rand.New(rand.NewPCG(seed, 0)))
			for at := range 40 {
				if at > 24 { // not in the head: some of the rows
					at *= 97
				}
				t.Run(fmt.Sprintf("%s %d byte %d", name, page/8192, at), func(t *testing.T) {
					t.Parallel()
					for _, bit := range []int{0, 3, 7} {
						damaged := bytes.Clone(intact)
						damaged[page+at] ^= 1 << bit
						isServed(t, copyWith(t, dir, damaged), epoch, kind.lost)
					}
				})
			}
		}
	}
}

// copyWith returns a copy of a directory with another database.
func copyWith(tb testing.TB, dir string, database []byte) string {
	tb.Helper()
	to := copyDir(tb, dir)
	if err := os.WriteFile(filepath.Join(to, "chat.db"), database, 0o600); err != nil {
		tb.Fatal(err)
	}
	return to
}

// isServed opens a damaged log, and fails if it serves what was never stored, lacks
// more than so many messages, or loses what is stored next.
func isServed(tb testing.TB, dir, epoch string, lost int) {
	tb.Helper()
	log, err := sqlitelog.Open(tb.Context(), dir, sqlitelog.Options{})
	if err != nil {
		tb.Error(err)
		return
	}
	defer log.Close()
	before := stateOf(tb, log)
	next := []byte(nil)
	if got, err := log.Append(tb.Context(), testRecord(messages+1), ""); err == nil {
		next = testRecord(messages + 1)
		if got.Offset != before.Next || before.Epoch == epoch && got.Offset != messages+1 {
			tb.Errorf("the next record is at %d in %+v", got.Offset, before)
		}
	}
	all := readLog(tb, log)
	if next != nil && !bytes.Equal(all[before.Next].Record, next) {
		tb.Errorf("the record that was stored at %d then is %.80q", before.Next, all[before.Next].Record)
	}
	delete(all, before.Next)
	found := 0
	for offset, e := range all {
		switch {
		case bytes.Equal(e.Record, testRecord(int(offset))):
			found++
		case !bytes.Equal(e.Record, record.Empty):
			tb.Errorf("record %d was invented: %.80q", offset, e.Record)
		}
	}
	if missing := messages - found; missing > lost {
		tb.Errorf("%d messages are not served, more than %d, in %+v", missing, lost, before)
	}
}
