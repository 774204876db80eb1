package sqlitelog

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zombiezen.com/go/sqlite"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
)

// addLarge appends records of 64 KiB from several senders.
func addLarge(tb testing.TB, log *Log, records int) {
	tb.Helper()
	data := newRecord(strings.Repeat("x", 64<<10))
	var sending sync.WaitGroup
	for range 4 {
		sending.Go(func() {
			for range records / 4 {
				if _, err := log.Append(tb.Context(), data, ""); err != nil {
					tb.Errorf("append: %v", err)
				}
			}
		})
	}
	sending.Wait()
}

// walSize returns the size of a log's write-ahead log.
func walSize(tb testing.TB, dir string) int64 {
	tb.Helper()
	is, err := os.Stat(filepath.Join(dir, DatabaseFile+walSuffix))
	if err != nil {
		tb.Fatal(err)
	}
	return is.Size()
}

// The write-ahead log is bounded, even if others read all the time.
func TestReadersDoNotPinTheWAL(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	log := openLog(t, dir, Options{})
	epoch := stateOf(t, log).Epoch
	done := make(chan struct{})
	var reading sync.WaitGroup
	for range 2 * readerCount {
		reading.Go(func() {
			for {
				for at := uint64(1); ; {
					got, err := log.Read(t.Context(), epoch, at, math.MaxUint64, 256<<10)
					if err != nil {
						t.Errorf("read at %d: %v", at, err)
						return
					}
					if at = got.Next; got.Next == got.From {
						break
					}
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	addLarge(t, log, 1000) // 64 MiB
	close(done)
	reading.Wait()
	if size := walSize(t, dir); size > restartBytes+2*maxCommitBytes {
		t.Errorf("the write-ahead log has %d bytes", size)
	}
}

// Another process that keeps the write-ahead log from being emptied is reported with
// its size. When it ends, the log shrinks to its bound.
func TestPinnedWALIsReported(t *testing.T) {
	t.Parallel()
	out := &chattest.Buffer{}
	dir := t.TempDir()
	log := openLog(t, dir, Options{Logger: nosecret.Logger(t, out)})
	addMany(t, log, 1, 10)
	other, err := openConn(filepath.Join(dir, DatabaseFile), sqlite.OpenReadOnly, "")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := pragma(other, "BEGIN", "SELECT count(*) FROM messages"); err != nil {
		t.Fatal(err)
	}
	addLarge(t, log, 400) // 25 MiB
	if text := out.String(); !strings.Contains(text, "another process reads the database") || strings.Count(text, "bytes=") != 1 {
		t.Errorf("logged: %s", text)
	}
	if err := log.Err(); err != nil {
		t.Errorf("the log is down: %v", err)
	}
	if err := pragma(other, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	before := walSize(t, dir)
	addLarge(t, log, 400)
	if after := walSize(t, dir); after > before+checkpointBytes {
		t.Errorf("the write-ahead log grew from %d to %d bytes", before, after)
	}
}
