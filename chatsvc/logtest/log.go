package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/simplechat/chatsvc"
)

// Opener opens one log. Each further call opens the same log again: for another replica,
// or after all earlier ones have been closed.
type Opener func(tb testing.TB) (log chatsvc.Log, closeLog func())

// Log tests the promises in the documentation of [chatsvc.Log]. Each call of newLog
// returns the opener of another, empty log that retains at least what r says. Calls of
// one opener are replicas that share the log.
func Log(t *testing.T, newLog func(tb testing.TB, r chatsvc.Retention) Opener) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, func(testing.TB, chatsvc.Retention) Opener){
		"order":             testOrder,
		"follow from":       testFollowFrom,
		"follow live":       testFollowLive,
		"retention":         testRetention,
		"burst":             testBurst,
		"duplicates":        testDuplicates,
		"racing duplicates": testRacingDuplicates,
		"batches":           testBatches,
		"ordered":           testOrdered,
		"cancel":            testCancel,
		"sizes":             testSizes,
		"reopen":            testReopen,
		"epochs":            testEpochs,
		"read":              testRead,
		"read and trim":     testReadWhileTrimming,
		"last bytes":        testLastBytes,
		"read by follow":    testReadByFollow,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newLog)
		})
	}
}

// The records of writers at all replicas get one order, and each follower sees all of it.
func testOrder(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	const writers, each = 8, 100
	open := newLog(t, chatsvc.Retention{})
	logs := []chatsvc.Log{opened(t, open), opened(t, open)}
	for _, log := range logs {
		stateOf(t, log)
	}
	said := make([]string, writers*each+1) // by offset
	var mu sync.Mutex                      // guards said
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			last := uint64(0)
			for n := range each {
				content := fmt.Sprint(w, "-", n)
				got, err := logs[w%2].Append(t.Context(), record(t, content), "")
				if err != nil || got.Duplicate || got.Offset <= last || got.Offset > writers*each {
					t.Errorf("append: %+v, %v behind %d", got, err, last)
					return
				}
				last = got.Offset
				mu.Lock()
				said[got.Offset] = content
				mu.Unlock()
			}
		})
	}
	var seen [4][]chatsvc.Entry
	for i := range seen {
		work.Go(func() { seen[i] = read(t, logs[i%2], 0, writers*each) })
	}
	work.Wait()
	if t.Failed() {
		return
	}
	for i, entries := range seen {
		if len(entries) != writers*each || entries[0].Offset != 1 {
			t.Fatalf("follower %d saw %d records from %d on", i, len(entries), entries[0].Offset)
		}
		for n, e := range entries {
			if got := contentOf(t, e.Record); got != said[e.Offset] {
				t.Fatalf("follower %d: %q at offset %d, where %q was acknowledged", i, got, e.Offset, said[e.Offset])
			}
			if n > 0 && e.Time.Before(entries[n-1].Time.Add(-time.Second)) {
				t.Errorf("record %d is of %v, the one before it of %v", e.Offset, e.Time, entries[n-1].Time)
			}
		}
	}
	if got := stateOf(t, logs[0]); got.First != 1 || got.Next != writers*each+1 {
		t.Errorf("state %+v", got)
	}
}

func testFollowFrom(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{}))
	if got := stateOf(t, log); got.First != 1 || got.Next != 1 || got.Epoch == "" {
		t.Errorf("state of an empty log: %+v", got)
	}
	for n := range 20 {
		add(t, log, fmt.Sprint(n+1), "")
	}
	for _, from := range []uint64{0, 1, 2, 10, 19, 20} {
		entries := read(t, log, from, 20)
		if first := max(from, 1); entries[0].Offset != first || contentOf(t, entries[0].Record) != fmt.Sprint(first) {
			t.Errorf("follow from %d began with offset %d, %q", from, entries[0].Offset, entries[0].Record)
		}
	}
	refused := errors.New("no more")
	n := 0
	err := follow(t.Context(), log, 5, func(chatsvc.Entry) error {
		if n++; n == 3 {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) || n != 3 {
		t.Errorf("follow whose yield refused the third record: %v after %d", err, n)
	}
}

// A follower from the next offset gets only later records.
func testFollowLive(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	open := newLog(t, chatsvc.Retention{})
	log, other := opened(t, open), opened(t, open)
	add(t, log, "before", "")
	next := stateOf(t, log).Next
	stateOf(t, other)
	for n := range 10 {
		got := make(chan []chatsvc.Entry, 1)
		go func() { got <- read(t, other, next, next) }()
		add(t, log, fmt.Sprint(n), "")
		if entries := <-got; len(entries) != 1 || contentOf(t, entries[0].Record) != fmt.Sprint(n) {
			t.Fatalf("live record %d: %+v", n, entries)
		}
		next++
	}
}

// Records that fit are retained. The others are removed in the end, oldest first.
func testRetention(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	for name, retention := range map[string]chatsvc.Retention{
		"messages": {Messages: 10},
		"bytes":    {Bytes: int64(10 * len(record(t, "0000")))},
		"both":     {Messages: 10, Bytes: 1 << 20},
		"young":    {Age: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := opened(t, newLog(t, retention))
			for n := range 50 {
				add(t, log, fmt.Sprintf("%04d", n), "")
			}
			state := stateOf(t, log)
			if state.Next != 51 || state.First > 41 || retention.Age > 0 && state.First != 1 {
				t.Errorf("state %+v: what fits is gone", state)
			}
			entries := read(t, log, state.First, 50)
			if entries[0].Offset != state.First || contentOf(t, entries[len(entries)-1].Record) != "0049" {
				t.Errorf("%d records from %d on, of a log in the state %+v", len(entries), entries[0].Offset, state)
			}
		})
	}
}

// A burst of appends does not overtake a follower, however little is retained.
func testBurst(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{Messages: 1}))
	stateOf(t, log)
	got := make(chan []chatsvc.Entry, 1)
	started := make(chan struct{})
	go func() {
		var entries []chatsvc.Entry
		_ = follow(t.Context(), log, 1, func(e chatsvc.Entry) error {
			if len(entries) == 0 {
				close(started)
			}
			if entries = append(entries, e); e.Offset == 1001 {
				return errEnough
			}
			return nil
		})
		got <- entries
	}()
	add(t, log, "0", "")
	<-started
	var work sync.WaitGroup
	for w := range 10 {
		work.Go(func() {
			for n := range 100 {
				add(t, log, fmt.Sprint(w, n), "")
			}
		})
	}
	work.Wait()
	if entries := <-got; len(entries) != 1001 {
		t.Errorf("%d records arrived, 1001 were due", len(entries))
	}
}

func testCancel(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{}))
	add(t, log, "x", "")
	ctx, cancel := context.WithCancel(t.Context())
	following := make(chan error, 1)
	seen := make(chan struct{}, 1)
	go func() {
		following <- follow(ctx, log, 0, func(chatsvc.Entry) error {
			seen <- struct{}{}
			return nil
		})
	}()
	select {
	case <-seen:
	case err := <-following:
		t.Fatalf("follow: %v", err)
	}
	cancel()
	if err := <-following; !errors.Is(err, context.Canceled) {
		t.Errorf("follow whose context is done: %v", err)
	}
	if err := follow(ctx, log, 0, func(chatsvc.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("follow with a context that is done: %v", err)
	}
	if _, err := log.Append(ctx, record(t, "y"), ""); !errors.Is(err, context.Canceled) {
		t.Errorf("append with a context that is done: %v", err)
	}
	if got := add(t, log, "z", ""); got.Offset != 2 {
		t.Errorf("append after one that was refused: %+v", got)
	}
}

// Records of all sizes are read as they were stored, also the largest.
func testSizes(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{}))
	sizes := []int{0, 1, 100, 4 << 10, 64 << 10, 1 << 20, chatsvc.MaxContentCeiling}
	for _, size := range sizes {
		add(t, log, string(slices.Repeat([]byte{'x'}, size)), "")
	}
	for i, e := range read(t, log, 0, uint64(len(sizes))) {
		if got := len(contentOf(t, e.Record)); got != sizes[i] {
			t.Errorf("a content of %d bytes came back with %d", sizes[i], got)
		}
	}
}

// Acknowledged records, their keys and the epoch are still there after the log was
// reopened.
func testReopen(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	open := newLog(t, chatsvc.Retention{})
	log, closeLog := open(t)
	before := stateOf(t, log)
	for n := range 100 {
		add(t, log, fmt.Sprint(n), "")
	}
	keyed := add(t, log, "keyed", "key")
	closeLog()

	log = opened(t, open)
	if got := stateOf(t, log); got.Epoch != before.Epoch || got.Next != keyed.Offset+1 || got.First != 1 {
		t.Errorf("state %+v, before %+v", got, before)
	}
	if got := add(t, log, "keyed", "key"); !got.Duplicate || got.Offset != keyed.Offset {
		t.Errorf("the key again: %+v", got)
	}
	for n, e := range read(t, log, 0, keyed.Offset) {
		if got := contentOf(t, e.Record); n < 100 && got != fmt.Sprint(n) {
			t.Errorf("record %d is %q", n, got)
		}
	}
}

func testEpochs(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	one, two := stateOf(t, opened(t, newLog(t, chatsvc.Retention{}))), stateOf(t, opened(t, newLog(t, chatsvc.Retention{})))
	if one.Epoch == two.Epoch || one.Epoch == "" {
		t.Errorf("epochs of two logs: %q, %q", one.Epoch, two.Epoch)
	}
}
