package report

import (
	"math"
	"strconv"
)

// axis places values between two ends.
type axis struct {
	label    string
	log      bool
	from, to float64
	ticks    []tick
}

// tick is a marked value of an axis.
type tick struct {
	at    float64
	label string
}

// part returns where a value is: 0 at the beginning of the axis, 1 at its end.
func (a axis) part(v float64) float64 {
	if a.log {
		return math.Log(v/a.from) / math.Log(a.to/a.from)
	}
	return (v - a.from) / (a.to - a.from)
}

// decades returns a logarithmic axis that begins and ends at powers of ten, contains from
// and to, and has at least one decade.
func decades(from, to float64) axis {
	first, last := math.Floor(math.Log10(from)), math.Ceil(math.Log10(to))
	last = max(last, first+1)
	a := axis{log: true, from: math.Pow(10, first), to: math.Pow(10, last)}
	for e := first; e <= last; e++ {
		v := math.Pow(10, e)
		a.ticks = append(a.ticks, tick{v, strconv.FormatFloat(v, 'g', 6, 64)})
	}
	return a
}

// linear returns an axis from 0 to at least to, with about five ticks.
func linear(to float64, write func(float64) string) axis {
	const parts = 5
	if to <= 0 {
		to = 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(to/parts)))
	step := unit
	for _, multiple := range []float64{2, 5, 10} {
		if step*parts < to {
			step = multiple * unit
		}
	}
	a := axis{to: step * math.Ceil(to/step)}
	for i := 0.0; i*step <= a.to; i++ {
		a.ticks = append(a.ticks, tick{i * step, write(i * step)})
	}
	return a
}

// ends returns the smallest and the largest of some values of all points, or lo and
// hi if there are none.
func ends(all []series, of func(point) float64, lo, hi float64) (from, to float64) {
	from, to = math.Inf(1), math.Inf(-1)
	for _, s := range all {
		for _, p := range s.points {
			from, to = min(from, of(p)), max(to, of(p))
		}
	}
	if from > to {
		return lo, hi
	}
	return from, to
}
