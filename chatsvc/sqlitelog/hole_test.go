package sqlitelog

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Somebody cuts the write-ahead log, and what is written next leaves a hole in it. The
// log opens its database again by itself. The hole is never copied into the database:
// the messages in the database stay, and so do those before the hole.
func TestHoleInWALIsNotCopied(t *testing.T) {
	t.Parallel()
	for _, isCopied := range []bool{false, true} { // the first messages are in the database
		for _, eighths := range []int64{0, 1, 4, 7} {
			t.Run(fmt.Sprint(isCopied, eighths), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				log := openLog(t, dir, Options{})
				addMany(t, log, 1, 41)
				if isCopied {
					closeLog(t, log)
					log = openLog(t, dir, Options{})
				}
				addMany(t, log, 41, 81)
				before := stateOf(t, log)
				wal := filepath.Join(dir, DatabaseFile+walSuffix)
				size := walSize(t, dir)
				for _, n := range []int64{size * eighths / 8, size} {
					if err := os.Truncate(wal, n); err != nil {
						t.Fatal(err)
					}
				}
				if got, err := log.Append(t.Context(), newRecord("into the hole"), ""); err == nil {
					t.Fatalf("append: %+v", got)
				}
				await(t, "recovery", func() bool {
					_, err := log.Append(t.Context(), newRecord("behind the hole"), "")
					return err == nil
				})
				after := stateOf(t, log)
				if after.Epoch == before.Epoch {
					t.Error("acknowledged messages are missing, and the epoch is the same")
				}
				if aside, err := filepath.Glob(filepath.Join(dir, "damaged-*", DatabaseFile+walSuffix)); err != nil || len(aside) != 1 {
					t.Errorf("copied aside: %q, %v", aside, err)
				}
				checkPrefix(t, contents(t, log), int(eighths)*4-2, isCopied)
			})
		}
	}
}

// checkPrefix checks that a log has the messages from 1 on, and no fewer than least of those that
// were in the write-ahead log, and one more.
func checkPrefix(t *testing.T, got map[uint64]string, least int, isCopied bool) {
	t.Helper()
	kept := len(got) - 1
	if isCopied {
		least += 40
	}
	if kept < least {
		t.Errorf("%d messages were kept, at least %d were due", kept, least)
	}
	for n := 1; n <= kept; n++ {
		if got[uint64(n)] != fmt.Sprint(n) {
			t.Fatalf("message %d: %q", n, got[uint64(n)])
		}
	}
}
