package sim

import (
	"slices"
	"time"
)

// Shrinking tries this many runs of each script before it takes it for one that passes, as the
// scheduler has a part in each, and ends when it has taken too long.
const (
	shrinkTries = 3
	shrinkTime  = 60 * time.Second
)

// shrink returns a script that fails with as few steps as it finds: it leaves out halves,
// then quarters, and single steps in the end. Removing steps does not change the random
// choices of the others.
func shrink(s script, fails func(script) bool) script {
	until := time.Now().Add(shrinkTime)
	try := func(candidate script) bool {
		for range shrinkTries {
			if time.Now().Before(until) && fails(candidate) {
				return true
			}
		}
		return false
	}
	for size := (len(s.Steps) + 1) / 2; size > 0; {
		before := len(s.Steps)
		for at := 0; at < len(s.Steps); {
			candidate := s
			candidate.Steps = slices.Concat(s.Steps[:at], s.Steps[min(at+size, len(s.Steps)):])
			if try(candidate) {
				s = candidate
				continue
			}
			at += size
		}
		if size > 1 || len(s.Steps) == before {
			size /= 2
		}
	}
	return s
}
