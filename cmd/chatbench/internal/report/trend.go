package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Trend is a value that was measured again and again.
type Trend struct {
	Name    string
	Human   func(float64) string
	Unit    string    // of the drawing's axis
	Scale   float64   // number of the values' units in one unit of the axis
	Settled float64   // hours before which samples do not count
	Hours   []float64 // since the begin
	Values  []float64 // the values at these times
}

// Slope is a straight line through samples, by least squares.
type Slope struct {
	Mean    float64 // of the values
	PerHour float64
	Error   float64 // standard error of PerHour, if the deviations were independent
	Hours   float64 // from the first sample to the last one
}

// Fit returns the line through the settled samples. With less than three it is zero.
func (t *Trend) Fit() Slope {
	var x, y []float64
	for i, at := range t.Hours {
		if at >= t.Settled {
			x, y = append(x, at), append(y, t.Values[i])
		}
	}
	n := float64(len(x))
	if n < 3 {
		return Slope{}
	}
	meanX, meanY := mean(x), mean(y)
	var xx, xy, rest float64
	for i := range x {
		xx += (x[i] - meanX) * (x[i] - meanX)
		xy += (x[i] - meanX) * (y[i] - meanY)
	}
	slope := xy / xx
	for i := range x {
		deviation := y[i] - meanY - slope*(x[i]-meanX)
		rest += deviation * deviation
	}
	return Slope{meanY, slope, math.Sqrt(rest / (n - 2) / xx), x[len(x)-1] - x[0]}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// flatPart is the largest growth of a flat value during a run, as a fraction of its mean.
const flatPart = 0.05

// Flat reports whether the value does not grow: the line does not rise by more than
// twice its error, or by no more than a twentieth of the mean in the whole run.
func (s Slope) Flat() bool {
	return s.PerHour <= 2*s.Error || s.PerHour*s.Hours <= flatPart*s.Mean
}

// Trends returns a table with the slopes of all trends.
func Trends(all []*Trend) string {
	var b strings.Builder
	b.WriteString("| figure | mean | change per hour | its error | flat |\n|---|--:|--:|--:|---|\n")
	for _, t := range all {
		s := t.Fit()
		fmt.Fprintf(&b, "| %s | %s | %s | ± %s | %s |\n", t.Name, t.Human(s.Mean), signed(s.PerHour, t.Human), t.Human(s.Error), yesOrNo(s.Flat()))
	}
	return b.String()
}

// signed writes a number that may be negative.
func signed(v float64, human func(float64) string) string {
	if v < 0 {
		return "-" + human(-v)
	}
	return "+" + human(v)
}

// PlotTrends draws each trend and its line to an SVG file.
func PlotTrends(file string, all []*Trend) error {
	panels := make([]panel, 0, len(all))
	for _, t := range all {
		panels = append(panels, t.panel())
	}
	return writePanels(file, panels...)
}

func (t *Trend) panel() panel {
	s := t.Fit()
	line, measured := series{name: "fitted"}, series{name: "measured"}
	settled, centre := 0, 0.0
	for i, at := range t.Hours {
		measured.points = append(measured.points, point{at, t.Values[i] / t.Scale})
		if at >= t.Settled {
			settled++
			centre += at
		}
	}
	centre /= float64(max(1, settled))
	for _, at := range t.Hours {
		if settled >= 3 && at >= t.Settled {
			line.points = append(line.points, point{at, max(0, s.Mean+s.PerHour*(at-centre)) / t.Scale})
		}
	}
	p := panel{title: t.Name, series: []series{measured, line}, legendLow: true}
	_, end := ends(p.series, point.width, 0, 1)
	_, most := ends(p.series, point.height, 0, 1)
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	p.x, p.y = linear(end, number), linear(most, number)
	p.x.label, p.y.label = "hours", t.Unit
	return p
}
