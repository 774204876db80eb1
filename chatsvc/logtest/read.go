package logtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
)

// Reads return exactly the requested records, in chunks within the bound.
func testRead(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	open := newLog(t, chatsvc.Retention{})
	log, other := opened(t, open), opened(t, open)
	const records = 300
	var sizes []int
	for n := range records {
		content := strings.Repeat("x", n*n%1000) + fmt.Sprint(n+1)
		sizes = append(sizes, len(record(t, content)))
		add(t, log, content, "")
	}
	epoch := stateOf(t, log).Epoch
	stateOf(t, other)
	for _, l := range []chatsvc.Log{log, other} {
		for _, test := range []struct {
			from, to uint64
			maxBytes int
		}{{1, records + 1, 1 << 20}, {1, 2, 1}, {7, 107, 1 << 20}, {100, math.MaxUint64, 10_000}, {records, records + 1, 0}, {5, 200, 1}, {1, math.MaxUint64, 64 << 10}} {
			for at, end := test.from, min(test.to, records+1); at < end; {
				got, err := l.Read(t.Context(), epoch, at, test.to, test.maxBytes)
				if err != nil || got.From != at || got.Next <= at || got.Next > end || len(got.Entries) != int(got.Next-at) || got.First != 1 {
					t.Fatalf("read %d to %d: %d to %d, %d entries, first %d, %v", at, test.to, got.From, got.Next, len(got.Entries), got.First, err)
				}
				bytes := 0
				for i, e := range got.Entries {
					if e.Offset != at+uint64(i) || len(e.Record) != sizes[e.Offset-1] || !strings.HasSuffix(contentOf(t, e.Record), fmt.Sprint(e.Offset)) {
						t.Fatalf("read at %d: entry %d has offset %d, %d bytes", at, i, e.Offset, len(e.Record))
					}
					bytes += len(e.Record)
				}
				if bytes > test.maxBytes && len(got.Entries) > 1 {
					t.Errorf("read at %d: %d bytes in %d records, %d were allowed", at, bytes, len(got.Entries), test.maxBytes)
				}
				if l == log && got.Next < end && bytes+sizes[got.Next-1] <= test.maxBytes {
					t.Errorf("read at %d stops before %d, which fits", at, got.Next)
				}
				at = got.Next
			}
		}
	}
	if got, err := log.Read(t.Context(), epoch, records+1, math.MaxUint64, 1<<20); err != nil || got.From != records+1 || got.Next != records+1 || len(got.Entries) != 0 {
		t.Errorf("read behind the end: %+v, %v", got, err)
	}
	if _, err := log.Read(t.Context(), "ANOTHER", 1, 2, 1<<20); !errors.Is(err, chatsvc.ErrEpoch) {
		t.Errorf("read in another epoch: %v", err)
	}
	if err := log.Follow(t.Context(), "ANOTHER", 1, func(chatsvc.Chunk) error { return errEnough }); !errors.Is(err, chatsvc.ErrEpoch) {
		t.Errorf("follow in another epoch: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := log.Read(ctx, epoch, 1, 2, 1<<20); !errors.Is(err, context.Canceled) {
		t.Errorf("read with a context that is done: %v", err)
	}
}

// Reads that run beside senders and the retention return parts of one order: each record
// is the one that was acknowledged with its offset.
func testReadWhileTrimming(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	const writers, each = 4, 1000
	log := opened(t, newLog(t, chatsvc.Retention{Messages: 100}))
	epoch := stateOf(t, log).Epoch
	said := make([]string, writers*each+1) // by offset
	var mu sync.Mutex                      // guards said
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for n := range each {
				content := fmt.Sprint(w, "-", n)
				got := add(t, log, content, "")
				mu.Lock()
				said[got.Offset] = content
				mu.Unlock()
			}
		})
	}
	seen := make([]map[uint64]string, 3)
	for r := range seen {
		seen[r] = make(map[uint64]string)
		reading.Go(func() {
			for at, last := uint64(1), false; ; {
				got, err := log.Read(t.Context(), epoch, at, math.MaxUint64, 1000*(r+1))
				switch {
				case err != nil || got.From < at || got.From > at && got.From > got.First:
					t.Errorf("read at %d: %d to %d, first %d, %v", at, got.From, got.Next, got.First, err)
					return
				case got.Next == got.From && last:
					return
				}
				for _, e := range got.Entries {
					seen[r][e.Offset] = contentOf(t, e.Record)
				}
				if got.Next-got.From != uint64(len(got.Entries)) {
					t.Errorf("read at %d: %d records of %d to %d", at, len(got.Entries), got.From, got.Next)
				}
				at = got.Next
				select {
				case <-done:
					last = true
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	for r := range seen {
		for offset, content := range seen[r] {
			if content != said[offset] {
				t.Errorf("reader %d: record %d is %q, %q was acknowledged", r, offset, content, said[offset])
			}
		}
		if len(seen[r]) < 100 {
			t.Errorf("reader %d saw %d records", r, len(seen[r]))
		}
	}
}

// A log that knows the sizes of its records finds where the last bytes begin.
func testLastBytes(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{}))
	sized, ok := log.(chatsvc.SizedLog)
	if !ok {
		return // the service reads the records instead
	}
	epoch := stateOf(t, log).Epoch
	var sizes []int64
	for n := range 200 {
		content := strings.Repeat("x", n*n%700)
		sizes = append(sizes, int64(len(record(t, content))))
		add(t, log, content, "")
	}
	for _, bytes := range []int64{0, 1, sizes[199] - 1, sizes[199], sizes[199] + sizes[198], 1000, 10_000, 1 << 40} {
		want, left := uint64(len(sizes)+1), bytes
		for want > 1 {
			if left -= sizes[want-2]; left < 0 {
				break
			}
			want--
		}
		if got, err := sized.LastBytes(t.Context(), epoch, bytes); err != nil || got != want {
			t.Errorf("the last %d bytes begin at %d, %v; %d was due", bytes, got, err, want)
		}
	}
	if _, err := sized.LastBytes(t.Context(), "ANOTHER", 1); !errors.Is(err, chatsvc.ErrEpoch) {
		t.Errorf("in another epoch: %v", err)
	}
}

// ReadByFollow returns the same as the log's own Read.
func testReadByFollow(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	log := opened(t, newLog(t, chatsvc.Retention{}))
	for n := range 50 {
		add(t, log, strings.Repeat("x", n), "")
	}
	epoch := stateOf(t, log).Epoch
	for _, test := range []struct {
		from, to uint64
		maxBytes int
	}{{1, 51, 1 << 20}, {3, 10, 1 << 20}, {10, math.MaxUint64, 200}, {10, 51, 0}, {50, 51, 1}, {51, 60, 100}} {
		want, err := log.Read(t.Context(), epoch, test.from, test.to, test.maxBytes)
		if err != nil {
			t.Fatal(err)
		}
		got, err := chatsvc.ReadByFollow(t.Context(), log, epoch, test.from, test.to, test.maxBytes)
		if err != nil || got.From != want.From || got.Next != want.Next || got.First != want.First || len(got.Entries) != len(want.Entries) {
			t.Errorf("%+v: %d to %d with %d records, %v; %d to %d was due", test, got.From, got.Next, len(got.Entries), err, want.From, want.Next)
			continue
		}
		for i, e := range got.Entries {
			if string(e.Record) != string(want.Entries[i].Record) || e.Offset != want.Entries[i].Offset {
				t.Errorf("%+v: entry %d differs", test, i)
			}
		}
	}
	if _, err := chatsvc.ReadByFollow(t.Context(), log, "ANOTHER", 1, 2, 1); !errors.Is(err, chatsvc.ErrEpoch) {
		t.Errorf("in another epoch: %v", err)
	}
}
