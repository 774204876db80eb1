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

// searchTime is how long the search for an order of a window takes at most. It takes
// milliseconds, also if there is none.
const searchTime = time.Minute

// Check returns nil if one order of all operations explains their answers. Otherwise
// the error lists what is wrong, at most some of each kind. The recorder may be in
// use; operations that are under way have an unknown outcome.
func (r *Recorder) Check() error {
	h := newHistory(r.Until(r.Now()))
	problems := h.problems
	done := int64(0) // no operation of an earlier epoch or window began later
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

// done returns the last begin of what has to happen before the next window. To see
// a record is possible at any later time.
func (w window) done(before int64) int64 {
	for _, o := range w.operations {
		if o.kind != observes {
			before = max(before, o.call)
		}
	}
	return before
}

// moments is how many moments of porcupine's time an event has.
const moments = 1 << 20

// check returns what is wrong with a window, if all before it has happened only
// after an event.
func (w window) check(before int64) string {
	history := make([]porcupine.Operation, 0, 1+len(w.operations))
	history = append(history, porcupine.Operation{Input: step{kind: begins, offset: w.base}, Call: before * moments, Return: unknown})
	begun := w.begun()
	for i, o := range w.operations {
		operation := porcupine.Operation{Input: o.step, Call: o.call * moments, Return: unknown}
		switch {
		case o.kind == observes:
			// One at a time: there would be too many orders of all that a batch shows.
			operation.Call += int64(i + 1)
			operation.Return = operation.Call
		case o.answer != unknown:
			operation.Return = (o.answer+1)*moments - 1
		}
		if o.kind == appends && begun[o.offset] <= operation.Return { // otherwise the search tells more
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

// begun returns when the append at an offset begins at the earliest, as ends before it
// tell. It follows from the ends, so the search would find the same without; but it
// would try each append before the end, and there are as many wrong orders as sets of
// ends.
func (w window) begun() map[uint64]int64 {
	begun := map[uint64]int64{}
	for _, o := range w.operations {
		if o.kind == ends {
			begun[o.offset] = max(begun[o.offset], o.call*moments+moments/2)
		}
	}
	return begun
}

// explain describes where the longest order that was found ends, and what cannot
// follow it.
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
	fmt.Fprintf(&text, "no order explains the history: before offset %d none of these can be the next operation", state.(log).next()) //nolint:forcetypeassert // it is the model's
	for _, o := range left[:min(len(left), 4)] {
		until := strconv.FormatInt(o.Return/moments, 10)
		if o.Return == unknown {
			until = "…"
		}
		fmt.Fprintf(&text, "\n\t%v, between events %d and %s", o.Input, o.Call/moments, until)
	}
	return text.String()
}
