package sqlitelog

import (
	"slices"
	"testing"
)

// The retention never believes a row that contradicts its neighbours: a row that it
// leaves out is removed with the row after it, never before.
func TestPlausibleRows(t *testing.T) {
	t.Parallel()
	rows := func(values ...int64) []edgeRow { // stored times and totals
		var all []edgeRow
		for i, v := range values {
			all = append(all, edgeRow{uint64(i + 1), v, v})
		}
		return all
	}
	to := end{next: 100, total: 1000, now: 1000}
	tests := map[string]struct {
		rows []edgeRow
		kept []uint64
	}{
		"intact":               {rows(10, 20, 20, 30), []uint64{1, 2, 3, 4}},
		"one is too old":       {rows(10, 20, 5, 30, 40), []uint64{1, 4, 5}},
		"one is too young":     {rows(10, 20, 500, 30, 40), []uint64{1, 2, 5}},
		"one is in the future": {rows(10, 20, 5000, 30, 40), []uint64{1, 2, 4, 5}},
		"two are too old":      {rows(10, 20, 5, 6, 40), []uint64{5}},
		"all contradict":       {rows(40, 30, 20, 10), nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var kept []uint64
			for _, r := range plausible(test.rows, to) {
				kept = append(kept, r.offset)
			}
			if !slices.Equal(kept, test.kept) {
				t.Errorf("kept %v, not %v", kept, test.kept)
			}
		})
	}
}
