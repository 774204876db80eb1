package logtest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
)

// Batches of several writers keep their own order, with keys and without. A record that
// is refused or a duplicate does not affect the others. Logs without batches pass.
func testBatches(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	const writers, batches, size = 4, 5, 40
	open := newLog(t, chatsvc.Retention{})
	log, ok := opened(t, open).(chatsvc.BatchLog)
	if !ok {
		return
	}
	if got := log.AppendBatch(t.Context(), nil); len(got) != 0 {
		t.Errorf("no records: %v", got)
	}
	known := add(t, log, "known", "key")
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			last := known.Offset
			for b := range batches {
				var records []chatsvc.NewRecord
				for i := range size {
					r := chatsvc.NewRecord{Record: record(t, fmt.Sprintf("%d %d", w, b*size+i))}
					if i%4 == 3 {
						r.Key = fmt.Sprintf("%d %d", w, b*size+i)
					}
					records = append(records, r)
				}
				records = append(records, chatsvc.NewRecord{Record: record(t, "again"), Key: "key"}, records[3])
				for i, got := range log.AppendBatch(t.Context(), records) {
					switch {
					case got.Err != nil:
						t.Errorf("record %d: %v", i, got.Err)
					case i == size && got.Appended != (chatsvc.Appended{Epoch: known.Epoch, Offset: known.Offset, Duplicate: true}):
						t.Errorf("a known key: %+v", got.Appended)
					case i == size+1 && !got.Appended.Duplicate:
						t.Errorf("a key of the same batch: %+v", got.Appended)
					case i < size && (got.Appended.Duplicate || got.Appended.Offset <= last):
						t.Errorf("record %d: %+v after offset %d", i, got.Appended, last)
					case i < size:
						last = got.Appended.Offset
					}
				}
			}
		})
	}
	work.Wait()
	next := make([]int, writers)
	for _, e := range read(t, log, known.Offset+1, known.Offset+writers*batches*size) {
		var w, n int
		if _, err := fmt.Sscanf(contentOf(t, e.Record), "%d %d", &w, &n); err != nil || n != next[w] {
			t.Fatalf("record %d is %q, number %d was due", e.Offset, contentOf(t, e.Record), next[w])
		}
		next[w]++
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := log.AppendBatch(ctx, []chatsvc.NewRecord{{Record: record(t, "late")}}); len(got) != 1 || got[0].Err == nil {
		t.Errorf("after the end of its context: %+v", got)
	}
}
