package disk

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// Of what was not synced, chance may keep anything: all, nothing, and the last
// write cut.
func TestChanceKeepsWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	d := New()
	d.Apply(Event{Kind: Created, Node: 1})
	d.Apply(Event{Kind: Changed, Node: 0, Change: Change{Names: map[string]int{"f": 1}}})
	d.Apply(Event{Kind: Synced, Node: 0, Seen: 1})
	d.Apply(Event{Kind: Changed, Node: 1, Change: Change{Data: []byte("synced")}})
	d.Apply(Event{Kind: Synced, Node: 1, Seen: 1})
	d.Apply(Event{Kind: Changed, Node: 1, Change: Change{Offset: 6, Data: []byte(", not")}})
	found := map[string]bool{}
	for i := range uint64(200) {
		left := d.nodes[1].left(rand.New(rand.NewPCG(1, i)))
		found[string(left.data)] = true
	}
	for _, want := range []string{"synced", "synced, not", "synced,"} {
		if !found[want] {
			t.Errorf("%q was never left, only %v", want, found)
		}
	}
	for left := range found {
		if !strings.HasPrefix(left, "synced") {
			t.Errorf("%q was left: synced data must remain", left)
		}
	}
}
