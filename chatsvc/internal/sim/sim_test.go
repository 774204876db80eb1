package sim

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var (
	seedCount = flag.Int("seeds", 200, "how many seeds TestSeeds runs")
	firstSeed = flag.Uint64("first", 1, "the first seed that TestSeeds runs")
	oneSeed   = flag.Uint64("seed", 0, "the only seed that TestSeeds runs, up to 100 times; 0: -seeds of them")
	noShrink  = flag.Bool("noshrink", false, "print a script that fails as it is")
)

func TestMain(m *testing.M) {
	flag.Parse()
	runtime.GOMAXPROCS(1) // see the package's documentation
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestSeeds runs the scripts of many seeds.
func TestSeeds(t *testing.T) {
	first, count := *firstSeed, *seedCount
	if *oneSeed > 0 {
		first, count = *oneSeed, 1
	}
	total, runs := newTally(), make(map[string]int)
	for seed := first; seed < first+uint64(count); seed++ {
		s := newScript(seed)
		tries := 1
		if *oneSeed > 0 {
			tries = 100
		}
		for range tries {
			got := runBubble(t, s)
			total.merge(runs, got.reached)
			if len(got.problems) > 0 {
				t.Fatalf("seed %d, %d of %d\n%s", seed, seed-first+1, count, explain(t, s, got))
			}
		}
	}
	t.Logf("what %d seeds reached:\n%s", count, total.report(runs))
}

// TestScripts runs the scripts that have failed once.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s script
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatal(err)
			}
			for range 5 {
				if got := runBubble(t, s); len(got.problems) > 0 {
					t.Fatalf("%s", strings.Join(got.problems, "\n"))
				}
			}
		})
	}
}

// explain returns the problem, how to repeat it, and a script that is as short as can be.
func explain(t *testing.T, s script, got *result) string {
	t.Helper()
	text := "  " + strings.Join(got.problems, "\n  ") +
		fmt.Sprintf("\nrepeat it with: go test ./chatsvc/internal/sim -run TestSeeds -seed %d\n", s.Seed)
	if !*noShrink {
		last := got
		s = shrink(s, func(candidate script) bool {
			again := runBubble(t, candidate)
			if len(again.problems) > 0 {
				last = again
			}
			return len(again.problems) > 0
		})
		text += fmt.Sprintf("with %d steps it is still:\n  %s\n", len(s.Steps), strings.Join(last.problems, "\n  "))
		got = last
	}
	if os.Getenv("SIM_LOG") != "" {
		text += got.log
	}
	return text + s.String()
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
	stuck := time.AfterFunc(5*time.Minute, func() {
		debug.SetTraceback("all")
		panic(fmt.Sprintf("seed %d does not end:\n%v", s.Seed, s))
	})
	defer stuck.Stop()
	if s.Setup.Disk { // its pool holds channels, which belong to the bubble before
		runtime.GC()
		runtime.GC()
	}
	synctest.Test(t, func(*testing.T) { got = run(s) })
	return got
}
