package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedCount = flag.Int("seeds", 200, "how many seeds TestSeeds runs")
	firstSeed = flag.Uint64("first", 1, "the first seed that TestSeeds runs")
	oneSeed   = flag.Uint64("seed", 0, "the only seed that TestSeeds runs, up to 100 times; 0: -seeds of them")
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// TestSeeds runs the scripts of many seeds.
func TestSeeds(t *testing.T) {
	total, runs := newTally(), make(map[string]int)
	for n := range *seedCount {
		seed := *firstSeed + uint64(n)
		got := runBubble(t, newScript(seed))
		total.merge(runs, got.reached)
		if len(got.problems) > 0 {
			t.Fatalf("seed %d: %s\n%v", seed, report(got), newScript(seed))
		}
	}
	t.Logf("what %d seeds reached:\n%s", *seedCount, total.report(runs))
}

func report(r *result) string {
	text := ""
	for _, p := range r.problems {
		text += "\n  " + p
	}
	return text
}

// runBubble runs a script in a bubble of its own. A goroutine that is left over or waits for
// ever is a problem too.
func runBubble(t *testing.T, s script) (got *result) {
	t.Helper()
	defer func() {
		if value := recover(); value != nil {
			if got == nil {
				got = &result{reached: newTally()}
			}
			got.problems = append(got.problems, fmt.Sprintf("panic: %v", value))
		}
	}()
	began := time.Now()
	synctest.Test(t, func(*testing.T) { got = run(s) })
	if took := time.Since(began); took > 5*time.Second {
		t.Logf("seed %d took %v", s.Seed, took)
	}
	return got
}
