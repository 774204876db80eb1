package linear

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// windowSize is the number of offsets that are checked at a time.
const windowSize = 512

// searchTime is the longest time for the search for an order of a window. The search
// usually takes milliseconds, also if no order exists.
const searchTime = time.Minute

// Check returns nil if one order of all operations explains their answers. Otherwise the
// error lists some problems of each kind. The recorder may be in use; operations that are
// running have an unknown outcome.
func (r *Recorder) Check() error {
	h := newHistory(r.Until(r.Now()))
	problems := h.problems
	done := int64(0) // the last begin of an operation in an earlier epoch or window
	for _, e := range h.inOrder() {
		for _, w := range e.windows() {
			if problem := w.check(done); problem != "" {
				problems = append(problems, "epoch "+e.name+": "+problem)
			}
			done = w.done(done)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	const shown = 20
	if more := len(problems) - shown; more > 0 {
		problems = append(problems[:shown], fmt.Sprintf("and %d problems more", more))
	}
	return errors.New(strings.Join(problems, "\n"))
}

// window is the operations on neighbouring offsets.
type window struct {
	base       uint64
	operations []operation
}

// windows cuts an epoch. An end belongs to the window of the record before it.
func (e *epoch) windows() []window {
	windows := []window{{base: e.base}}
	for _, o := range e.operations {
		i := int(o.offset-e.base) / windowSize
		if o.kind == ends {
			i = int(max(o.offset, e.base+1)-1-e.base) / windowSize
		}
		for len(windows) <= i {
			windows = append(windows, window{base: e.base + uint64(len(windows)*windowSize)})
		}
		windows[i].operations = append(windows[i].operations, o)
	}
	return windows
}

// done returns the event at which the last operation began that must happen before the
// next window. Sightings do not count, because a record can be seen at any later time.
func (w window) done(before int64) int64 {
	for _, o := range w.operations {
		if o.kind != observes {
			before = max(before, o.call)
		}
	}
	return before
}

// moments is the number of units of porcupine's time in one event.
const moments = 1 << 20

// check returns the problem with a window, or the empty string. It assumes that no
// operation of an earlier window has ended when the event before begins.
func (w window) check(before int64) string {
	history := make([]porcupine.Operation, 0, 1+len(w.operations))
	history = append(history, porcupine.Operation{Input: step{kind: begins, offset: w.base}, Call: before * moments, Return: unknown})
	begun := w.begun()
	for i, o := range w.operations {
		operation := porcupine.Operation{Input: o.step, Call: o.call * moments, Return: unknown}
		switch {
		case o.kind == observes:
			// One after the other: with all records of a batch at once, the search would have too many orders to try.
			operation.Call += int64(i + 1)
			operation.Return = operation.Call
		case o.answer != unknown:
			operation.Return = (o.answer+1)*moments - 1
		}
		if o.kind == appends && begun[o.offset] <= operation.Return { // otherwise the search gives a better explanation
			operation.Call = max(operation.Call, begun[o.offset])
		}
		history = append(history, operation)
	}
	switch result, info := porcupine.CheckOperationsVerbose(model(), history, searchTime); result {
	case porcupine.Ok:
		return ""
	case porcupine.Illegal:
		return explain(history, info.PartialLinearizations()[0])
	default:
		return fmt.Sprintf("no order was found in %v for the %d offsets from %d on", searchTime, windowSize, w.base)
	}
}

// begun returns the earliest moment at which the append at an offset can happen: if a
// reader was told that the log ends before the offset, the append happened later. The
// search would find the same by itself, but would first try the append before each such
// end, which takes exponential time.
func (w window) begun() map[uint64]int64 {
	begun := map[uint64]int64{}
	for _, o := range w.operations {
		if o.kind == ends {
			begun[o.offset] = max(begun[o.offset], o.call*moments+moments/2)
		}
	}
	return begun
}

// explain describes where the longest order that was found ends, and the operations that
// cannot follow it.
func explain(history []porcupine.Operation, orders [][]int) string {
	var order []int
	for _, other := range orders {
		if len(other) > len(order) {
			order = other
		}
	}
	var state any = log{}
	taken := map[int]bool{}
	for _, id := range order {
		_, state = model().Step(state, history[id].Input, nil)
		taken[id] = true
	}
	var left []porcupine.Operation
	for id, o := range history {
		if !taken[id] {
			left = append(left, o)
		}
	}
	slices.SortFunc(left, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	var text strings.Builder
	fmt.Fprintf(&text, "no order explains the history: before offset %d none of these can be the next operation", state.(log).next()) //nolint:forcetypeassert // the model has no other state
	for _, o := range left[:min(len(left), 4)] {
		until := strconv.FormatInt(o.Return/moments, 10)
		if o.Return == unknown {
			until = "…"
		}
		fmt.Fprintf(&text, "\n\t%v, between events %d and %s", o.Input, o.Call/moments, until)
	}
	return text.String()
}
