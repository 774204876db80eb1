package linear

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// operation is a step that happens between two events.
type operation struct {
	step

	call, answer int64
}

// epoch is the part of the history that has one epoch.
type epoch struct {
	name       string
	first      int64       // the event at which a client first received its name
	base       uint64      // offset of the first record that was appended under it
	operations []operation // on offsets from base on
	end        uint64      // no known offset is as large
}

// group holds all appends of one record, in the order in which they began.
type group []*Append

// history is a recorded history in the model's terms.
type history struct {
	*Recorder

	groups   []group
	byRecord map[string]group
	places   map[string][]place // the places at which each record was read
	epochs   map[string]*epoch
	problems []string // problems found so far
}

func newHistory(r *Recorder) *history {
	h := &history{Recorder: r, byRecord: map[string]group{}, places: map[string][]place{}, epochs: map[string]*epoch{}}
	h.collectGroups()
	h.collectEpochs()
	for _, g := range h.groups {
		h.placeGroup(g)
	}
	h.placeSightings()
	h.fillHoles()
	return h
}

func (h *history) problemf(format string, args ...any) {
	h.problems = append(h.problems, fmt.Sprintf(format, args...))
}

// collectGroups joins appends of the same record.
func (h *history) collectGroups() {
	order := []string{}
	for _, a := range h.appends {
		if a.refused {
			continue
		}
		g := h.byRecord[a.record]
		switch {
		case g == nil:
			order = append(order, a.record)
		case a.key == "" || a.key != g[0].key:
			h.problemf("the recorder cannot tell two appends of %.60q apart", a.record)
		}
		h.byRecord[a.record] = append(g, a)
	}
	for _, record := range order {
		h.groups = append(h.groups, h.byRecord[record])
	}
}

// collectEpochs finds the epochs and the first offset that was appended in each: 1 in the
// first epoch, and that of the first acknowledged append in a later one.
func (h *history) collectEpochs() {
	epochOf := func(p place, at int64) *epoch {
		e := h.epochs[p.epoch]
		if e == nil {
			e = &epoch{name: p.epoch, first: at, base: unknown}
			h.epochs[p.epoch] = e
		}
		e.first = min(e.first, at)
		return e
	}
	for _, a := range h.appends {
		if a.answer == unknown {
			continue
		}
		e := epochOf(a.place, a.answer)
		e.end = max(e.end, a.place.offset+1)
		if !a.repeat {
			e.base = min(e.base, a.place.offset)
		}
	}
	for p, seen := range h.seen {
		e := epochOf(p, seen[0].at)
		e.end = max(e.end, p.offset+1)
		for _, s := range seen {
			h.places[s.record] = append(h.places[s.record], p)
		}
	}
	for _, s := range h.ends {
		e := epochOf(s.place, s.answer)
		e.end = max(e.end, s.offset)
	}
	for i, e := range h.inOrder() {
		if i == 0 {
			e.base = 1
		}
		e.base = min(e.base, max(e.end, 1))
	}
}

// inOrder returns the epochs in the order in which clients first received their names.
func (h *history) inOrder() []*epoch {
	return slices.SortedFunc(maps.Values(h.epochs), func(a, b *epoch) int { return cmp.Compare(a.first, b.first) })
}

// add adds an operation to the epoch of a place.
func (h *history) add(p place, k kind, record string, call, answer int64) {
	e := h.epochs[p.epoch]
	e.operations = append(e.operations, operation{step{k, p.offset, record}, call, answer})
}

// placeGroup adds the appends of a record where it was acknowledged or read.
func (h *history) placeGroup(g group) {
	at := slices.Clone(h.places[g[0].record])
	for _, a := range g {
		if a.answer != unknown {
			at = append(at, a.place)
		}
	}
	slices.SortFunc(at, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.offset, b.offset))
	})
	at = slices.Compact(at)
	for i, p := range at {
		if p.offset >= h.epochs[p.epoch].base {
			h.placeAppend(g, p)
		}
		if i > 0 && at[i-1].epoch == p.epoch && h.withinWindow(g) {
			h.problemf("twice: %.60q is at %d and at %d of epoch %s", g[0].record, at[i-1].offset, p.offset, p.epoch)
		}
	}
}

// placeAppend adds the append that stored the record of a group at p: an acknowledged
// one, or else the first one that may have stored it. The other appends found the record
// at p. A record stays at its place, so it suffices that each of them sees it at its end.
func (h *history) placeAppend(g group, p place) {
	var stored, maybe int
	begin := int64(unknown)
	for _, a := range g {
		switch {
		case a.answer == unknown || a.place == p && a.repeat:
			maybe++
			begin = min(begin, a.call)
		case a.place == p:
			stored++
			h.add(p, appends, a.record, a.call, a.answer)
		}
		if a.answer != unknown && a.place == p {
			h.add(p, observes, a.record, a.answer, a.answer)
		}
	}
	switch {
	case stored > 0:
	case maybe > 0:
		h.add(p, appends, g[0].record, begin, unknown)
	default:
		h.problemf("twice: %.60q is at %d of epoch %s, and was acknowledged elsewhere", g[0].record, p.offset, p.epoch)
	}
}

// withinWindow reports whether all appends of a group are within the time for which the
// log remembers their key. An append without an answer may happen at any time.
func (h *history) withinWindow(g group) bool {
	until := g[0].called
	for _, a := range g {
		switch {
		case len(g) == 1: // sent once, stored twice
			return true
		case a.answer == unknown:
			until = h.last
		case a.settled.After(until):
			until = a.settled
		}
	}
	return until.Sub(g[0].called) <= KeyWindow
}

// placeSightings adds the first sighting of each record at each place, and the ends.
func (h *history) placeSightings() {
	for p, seen := range h.seen {
		for _, s := range seen {
			if h.byRecord[s.record] == nil {
				h.problemf("invented: %.60q at %d of epoch %s was not sent, or refused", s.record, p.offset, p.epoch)
			} else if begin := h.byRecord[s.record][0].call; begin > s.at {
				h.problemf("invented: %.60q at %d of epoch %s was read before it was sent", s.record, p.offset, p.epoch)
			}
			if p.offset >= h.epochs[p.epoch].base {
				h.add(p, observes, s.record, s.at, s.at)
			}
		}
		if len(seen) > 1 {
			h.problemf("changed: offset %d of epoch %s has %.60q and %.60q", p.offset, p.epoch, seen[0].record, seen[1].record)
		}
	}
	for _, e := range h.decisiveEnds() {
		h.add(e.place, ends, "", e.call, e.answer)
	}
}

// decisiveEnds returns two of all operations that were told the same end: the one with
// the first answer and the one with the last call. If an order explains these two, it
// explains the others, too.
func (h *history) decisiveEnds() (decisive []end) {
	at := map[place][]end{}
	for _, e := range h.ends {
		if e.offset >= h.epochs[e.epoch].base {
			at[e.place] = append(at[e.place], e)
		}
	}
	for _, all := range at {
		first := slices.MinFunc(all, func(a, b end) int { return cmp.Compare(a.answer, b.answer) })
		last := slices.MaxFunc(all, func(a, b end) int { return cmp.Compare(a.call, b.call) })
		decisive = append(decisive, first)
		if last != first {
			decisive = append(decisive, last)
		}
	}
	return decisive
}

// fillHoles assigns appends without an answer to offsets that nobody has seen. It takes
// both in order: if any assignment is possible, then one in which the first offset gets
// the append that began first is possible, too.
func (h *history) fillHoles() {
	for _, e := range h.inOrder() {
		fillers := h.fillers(e)
		taken := map[uint64]bool{}
		for _, o := range e.operations {
			taken[o.offset] = taken[o.offset] || o.kind != ends
		}
		for offset := e.base; offset < e.end; offset++ {
			if taken[offset] {
				continue
			}
			if len(fillers) == 0 {
				h.problemf("invented: no append accounts for offset %d of epoch %s", offset, e.name)
				return
			}
			h.add(place{e.name, offset}, appends, "", fillers[0].call, unknown)
			fillers = fillers[1:]
		}
	}
}

// fillers returns the first append without an answer of each record that is not known to
// be in an epoch, in the order in which they began. The record may be known to be in
// another epoch, if it was lost with one and sent again.
func (h *history) fillers(e *epoch) (fillers []*Append) {
	for _, g := range h.groups {
		isThere := func(p place) bool { return p.epoch == e.name }
		first := slices.IndexFunc(g, func(a *Append) bool { return a.answer == unknown })
		if first >= 0 && !slices.ContainsFunc(h.places[g[0].record], isThere) &&
			!slices.ContainsFunc(g, func(a *Append) bool { return a.answer != unknown && isThere(a.place) }) {
			fillers = append(fillers, g[first])
		}
	}
	slices.SortFunc(fillers, func(a, b *Append) int { return cmp.Compare(a.call, b.call) })
	return fillers
}
