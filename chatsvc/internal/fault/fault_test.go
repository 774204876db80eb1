package fault_test

import (
	"testing"

	"example.com/simplechat/chatsvc/internal/fault"
)

func TestHook(t *testing.T) { //nolint:paralleltest // the hook is the process's
	var got []fault.Point
	fault.Set(func(p fault.Point) { got = append(got, p) })
	fault.At(fault.Reading)
	fault.Set(nil)
	fault.At(fault.Waiting)
	if len(got) != 1 || got[0] != fault.Reading {
		t.Errorf("the hook was called with %q", got)
	}
}

// BenchmarkOff measures the cost of a point without a simulation.
func BenchmarkOff(b *testing.B) {
	for b.Loop() {
		fault.At(fault.Waiting)
	}
}
