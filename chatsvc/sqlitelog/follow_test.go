package sqlitelog

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
)

// Under a load in which a sync always runs, the write-ahead log stays within its bound.
// The disk is slow, so that half of the senders wait while it works for the others.
func TestWALIsBoundedUnderLoad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	slow := realSystem()
	slow.sync = func(f *os.File) error {
		<-time.After(5 * maxGather)
		return syncData(f)
	}
	log := openLog(t, dir, Options{system: &slow})
	data := newRecord(strings.Repeat("x", 8<<10))
	var sending sync.WaitGroup
	for range 64 {
		sending.Go(func() {
			for range 200 { // 100 MiB in all
				if _, err := log.Append(t.Context(), data, ""); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	sending.Wait()
	if size := walSize(t, dir); size > restartBytes+2*maxCommitBytes {
		t.Errorf("the write-ahead log has %d bytes", size)
	}
}

// Followers of a log get the records after a batch that is larger than all that the
// retention keeps.
func TestLargeBatchIsFollowed(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir(), Options{Retention: chatsvc.Retention{Messages: 100}})
	addMany(t, log, 1, 101)
	records := make([]chatsvc.NewRecord, 4000)
	for i := range records {
		records[i] = chatsvc.NewRecord{Record: newRecord(fmt.Sprint(101 + i))}
	}
	state := stateOf(t, log)
	got := make(chan chatsvc.Chunk, 1000)
	go func() {
		_ = log.Follow(t.Context(), state.Epoch, state.Next, func(c chatsvc.Chunk) error { got <- c; return nil })
	}()
	for i, o := range log.AppendBatch(t.Context(), records) {
		if o.Err != nil || o.Appended.Offset != uint64(101+i) {
			t.Fatalf("record %d: %+v", i, o)
		}
	}
	add(t, log, "last", "")
	for deadline := time.After(time.Minute); ; {
		select {
		case c := <-got:
			if c.Next == 4102 {
				return
			}
		case <-deadline:
			t.Fatal("what was stored last does not come")
		}
	}
}

// A transaction removes nothing that is reported, as it may fail.
func TestTrimKeepsWhatIsReported(t *testing.T) {
	t.Parallel()
	log := openLog(t, t.TempDir(), Options{Retention: chatsvc.Retention{Messages: 100}})
	addMany(t, log, 1, 101)
	closeLog(t, log)
	w := newWriter(newLog(log.dir, Options{Retention: chatsvc.Retention{Messages: 100}}))
	if err := w.open(true); err != nil {
		t.Fatal(err)
	}
	defer w.close()
	tr := w.begin()
	tr.next += 4000
	tr.entries = make([]chatsvc.Entry, 4000)
	if _, err := w.transact(tr, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	if tr.floor.offset > w.first.offset || w.log.floor > w.first.offset {
		t.Errorf("the floor is %d, %d is reported as the first", tr.floor.offset, w.first.offset)
	}
}

// A log whose records were all removed by age continues behind them, also after its
// process was killed.
func TestEmptiedByAgeAndKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMachine()
	log := openLog(t, dir, Options{Retention: chatsvc.Retention{Age: time.Second}, system: m.system()})
	addMany(t, log, 1, 10)
	before := stateOf(t, log)
	m.mono.Add(10_000)
	await(t, "an empty log", func() bool {
		ev, ok, err := readEvidence(dir) // it is written after the commit
		return err == nil && ok && ev.Empty
	})
	killed := openLog(t, copyFiles(t, dir), Options{system: m.system()})
	if after := stateOf(t, killed); after.Epoch != before.Epoch || after.Next != 10 {
		t.Errorf("%+v, before %+v", after, before)
	}
}
