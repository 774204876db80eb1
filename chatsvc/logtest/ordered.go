package logtest

import (
	"context"
	"fmt"
	"testing"

	"example.com/simplechat/chatsvc"
)

// Records that are appended in order have outcomes as those of a batch have, also beside
// other writers. Logs that do not implement [chatsvc.OrderedLog] pass.
func testOrdered(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	const size = 5000 // more than one transaction has otherwise
	log, ok := opened(t, newLog(t, chatsvc.Retention{})).(chatsvc.OrderedLog)
	if !ok {
		return
	}
	if got := log.AppendOrdered(t.Context(), nil); len(got) != 0 {
		t.Errorf("no records: %v", got)
	}
	known := add(t, log, "known", "key")
	records := []chatsvc.NewRecord{{Record: record(t, "again"), Key: "key"}}
	for i := range size {
		records = append(records, chatsvc.NewRecord{Record: record(t, fmt.Sprint(i)), Key: fmt.Sprint(i)})
	}
	outcomes := log.AppendOrdered(t.Context(), records)
	if len(outcomes) != len(records) {
		t.Fatalf("%d outcomes of %d records", len(outcomes), len(records))
	}
	for i, got := range outcomes {
		want := chatsvc.Appended{Epoch: known.Epoch, Offset: known.Offset + uint64(i), Duplicate: i == 0}
		if got.Err != nil || got.Appended != want {
			t.Fatalf("record %d: %+v, %+v was due", i, got, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := log.AppendOrdered(ctx, records[:2]); len(got) != 1 || got[0].Err == nil {
		t.Errorf("after the end of its context: %+v", got)
	}
}
