package logtest

import (
	"fmt"
	"sync"
	"testing"

	"example.com/simplechat/chatsvc"
)

func testDuplicates(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	open := newLog(t, chatsvc.Retention{})
	log, other := opened(t, open), opened(t, open)
	first := add(t, log, "first", "key")
	add(t, log, "without a key", "")
	second := add(t, log, "second", "other key, with any bytes: \r\n\x00\xff")
	if first.Duplicate || second.Duplicate || second.Offset != first.Offset+2 {
		t.Errorf("first appends: %+v, %+v", first, second)
	}
	epoch := stateOf(t, log).Epoch
	if first.Epoch != epoch || second.Epoch != epoch {
		t.Errorf("first appends in the epoch %q: %+v, %+v", epoch, first, second)
	}
	for _, l := range []chatsvc.Log{log, other} {
		if got := add(t, l, "first", "key"); !got.Duplicate || got.Offset != first.Offset || got.Epoch != epoch {
			t.Errorf("the key again: %+v, offset %d was due", got, first.Offset)
		}
		if got := add(t, l, "second", "other key, with any bytes: \r\n\x00\xff"); !got.Duplicate || got.Offset != second.Offset {
			t.Errorf("the other key again: %+v, offset %d was due", got, second.Offset)
		}
	}
	if entries := read(t, log, 0, second.Offset); len(entries) != 3 {
		t.Errorf("%d records are stored, 3 were due", len(entries))
	}
}

// Of racing appends with one key, one is stored and all get its offset. Other appends
// with other keys or without keys run at the same time.
func testRacingDuplicates(t *testing.T, newLog func(testing.TB, chatsvc.Retention) Opener) {
	const rounds, racers = 20, 32
	open := newLog(t, chatsvc.Retention{})
	logs := []chatsvc.Log{opened(t, open), opened(t, open)}
	stored := 0
	for round := range rounds {
		results := make([]chatsvc.Appended, racers)
		var work sync.WaitGroup
		for i := range results {
			key := "one of round " + fmt.Sprint(round)
			switch i % 4 {
			case 2:
				key = ""
			case 3:
				key = fmt.Sprint(round, "of its own", i)
			}
			work.Go(func() { results[i] = add(t, logs[i/4%2], fmt.Sprint(round, i), key) })
		}
		work.Wait()
		offset, firsts := uint64(0), 0
		for i, got := range results {
			switch {
			case i%4 >= 2:
				if got.Duplicate {
					t.Errorf("round %d: append %d is a duplicate: %+v", round, i, got)
				}
				stored++
			case offset != 0 && got.Offset != offset:
				t.Errorf("round %d: offset %d and offset %d for one key", round, offset, got.Offset)
			default:
				offset = got.Offset
			}
			if i%4 < 2 && !got.Duplicate {
				firsts++
			}
		}
		if stored++; firsts != 1 {
			t.Errorf("round %d: %d appends count as the first", round, firsts)
		}
	}
	if got := stateOf(t, logs[0]); got.Next != uint64(stored)+1 {
		t.Errorf("%d records are stored, %d were due", got.Next-1, stored)
	}
}
