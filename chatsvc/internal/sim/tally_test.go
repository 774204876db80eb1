package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// tally counts the states that were reached. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex // guards counts
	counts map[string]int
}

func newTally() *tally { return &tally{counts: make(map[string]int)} }

func (t *tally) add(what string) { t.addN(what, 1) }

func (t *tally) addN(what string, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what] += n
}

// merge adds the counts of another one, and in how many runs each was reached.
func (t *tally) merge(runs map[string]int, other *tally) {
	other.mu.Lock()
	defer other.mu.Unlock()
	for what, n := range other.counts {
		t.addN(what, n)
		if n > 0 {
			runs[what]++
		}
	}
}

// report returns a table.
func (t *tally) report(runs map[string]int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b strings.Builder
	for _, what := range slices.Sorted(maps.Keys(t.counts)) {
		fmt.Fprintf(&b, "%9d times in %6d runs  %s\n", t.counts[what], runs[what], what)
	}
	return b.String()
}
