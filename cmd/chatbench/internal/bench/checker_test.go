package bench

import (
	"testing"
)

// A checker finds the faults in a sequence of received messages.
func TestChecker(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                                string
		seen                                []uint64
		sent                                uint64
		refused                             []uint64
		lost, gaps, duplicates, reorderings int64
	}{
		{name: "whole", seen: []uint64{0, 1, 2, 3}, sent: 4},
		{name: "nothing", sent: 3, lost: 3},
		{name: "hole", seen: []uint64{0, 3, 4}, sent: 5, lost: 2, gaps: 1},
		{name: "two holes", seen: []uint64{1, 3}, sent: 4, lost: 2, gaps: 2},
		{name: "end missing", seen: []uint64{0, 1}, sent: 5, lost: 3},
		{name: "twice", seen: []uint64{0, 1, 1, 2, 0}, sent: 3, duplicates: 2},
		{name: "swapped", seen: []uint64{0, 2, 1, 3}, sent: 4, gaps: 1, reorderings: 1},
		{name: "swapped and twice", seen: []uint64{1, 0, 0, 1}, sent: 2, gaps: 1, reorderings: 1, duplicates: 2},
		{name: "middle of a hole", seen: []uint64{5, 2}, sent: 6, lost: 4, gaps: 1, reorderings: 1},
		{name: "hole filled from both ends", seen: []uint64{4, 0, 3, 1, 2}, sent: 5, gaps: 1, reorderings: 4},
		{name: "refused", seen: []uint64{0, 3}, sent: 5, refused: []uint64{1, 2, 4}, gaps: 1},
		{name: "refused and lost", seen: []uint64{0, 3}, sent: 5, refused: []uint64{1}, lost: 2, gaps: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			check := newChecker(3)
			for _, seq := range c.seen {
				check.see(1, seq)
			}
			lost := check.lost(1, c.sent, c.refused, true)
			if lost != c.lost || check.gaps != c.gaps || check.duplicates != c.duplicates || check.reordered != c.reorderings {
				t.Errorf("%d lost, %d gaps, %d duplicates, %d out of order", lost, check.gaps, check.duplicates, check.reordered)
			}
			if n := check.lost(0, 0, nil, true) + check.lost(2, 0, nil, true); n != 0 {
				t.Errorf("%d of other slots lost", n)
			}
		})
	}
}

// Messages that have not been read yet are not lost. Skipped ones are.
func TestCheckerBeforeEnd(t *testing.T) {
	t.Parallel()
	check := newChecker(1)
	check.see(0, 0)
	check.see(0, 2)
	if lost := check.lost(0, 10, nil, false); lost != 1 {
		t.Errorf("%d lost", lost)
	}
}
