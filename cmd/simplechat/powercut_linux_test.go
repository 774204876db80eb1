package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// cuts is how many times the power-cut test cuts the power.
const cuts = 40

// With --sync always, a cut of the power at any moment leaves all that was
// acknowledged until then, at its place, and what subscribers had seen: also
// where a part of what was not synced did reach the disk.
func TestPowerCutLosesNothing(t *testing.T) {
	t.Parallel()
	report(t, powerCuts(t, cuts, "--sync", "always"))
}

// The model does throw away what was not synced: with a long interval the same
// test finds that acknowledged messages are lost.
func TestPowerCutTestFindsLoss(t *testing.T) {
	t.Parallel()
	problems := strings.Join(powerCuts(t, 5, "--sync", "1h"), "\n")
	if want := "lost: "; !strings.Contains(problems, want) {
		t.Errorf("no problem with %q was found, but:\n%.2000s", want, problems)
	}
}

// powerCuts runs a server with further arguments under load, cuts the power
// again and again, and returns what is wrong with what a server finds then.
func powerCuts(t *testing.T, n int, args ...string) (problems []string) {
	chance := newChance(t)
	args = slices.Concat([]string{"serve", "--listen", "127.0.0.1:0", "--retain-messages", "0", "--retain-bytes", "1MiB"}, args)
	root := t.TempDir()
	tr := newTracer(root)
	l := newLoad(t)
	l.position = tr.position
	traceLoad(t, tr, l, append(args, "--data", filepath.Join(root, "data")))
	t.Logf("%d events, %d messages acknowledged", len(tr.events), l.count())

	moments := make([]int, n)
	for i := range moments {
		moments[i] = chance.IntN(len(tr.events) + 1)
	}
	slices.Sort(moments)
	d, applied := newDisk(), 0
	for i, moment := range moments {
		for ; applied < moment; applied++ {
			d.apply(tr.events[applied])
		}
		// Every other time a part of what was not synced is there too.
		var some *rand.Rand
		if i%2 == 1 {
			some = rand.New(rand.NewPCG(chance.Uint64(), 0))
		}
		for _, problem := range cutAt(t, d, l.until(moment), some, args) {
			problems = append(problems, fmt.Sprintf("power cut after event %d of %d, %v: %s", moment, len(tr.events), some != nil, problem))
		}
	}
	return problems
}
