package report

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Plot draws the CPU time and the latency of deliveries by workload to an SVG file.
func (c *Comparison) Plot(file string) error {
	return writePanels(file, c.panel(CPU, "µs", 1e3), c.panel(P99, "ms", 1e6))
}

// narrow breaks a workload's title into lines.
var narrow = strings.NewReplacer(", ", ",\n", " subscribers", "\nsubscribers")

// panel draws a figure of each system under each workload that has it.
func (c *Comparison) panel(name, unit string, scale float64) panel {
	p := panel{title: name + " by workload (less is better)", marked: true}
	var titles []tick
	points := make([][]point, len(c.Systems))
	for _, l := range c.Loads {
		if !slices.Contains(l.Figures, name) {
			continue
		}
		x := float64(len(titles))
		for i, system := range c.Systems {
			if v, ok := c.Median(l.Name, system, name); ok && v > 0 {
				points[i] = append(points[i], point{x, v / scale})
			}
		}
		titles = append(titles, tick{x, narrow.Replace(l.Title)})
	}
	for i, system := range c.Systems {
		if len(points[i]) > 0 {
			p.series = append(p.series, series{system, points[i]})
		}
	}
	p.x = axis{from: -0.5, to: float64(len(titles)) + 0.5, ticks: titles} // room for the legend
	p.y = decades(ends(p.series, point.height, 1, 10))
	p.y.label = unit
	return p
}

func (p point) width() float64  { return p.x }
func (p point) height() float64 { return p.y }

// PlotRun draws a run to an SVG file: latencies above, throughput below.
func PlotRun(file string, r *bench.Result) error {
	return writePanels(file, latencies(r), throughput(r))
}

// latencies are drawn by percentile, on a scale that widens towards 100.
func latencies(r *bench.Result) panel {
	p := panel{title: r.Workload.String(), legendLow: true}
	for _, c := range []struct {
		name  string
		times *hdrhistogram.Histogram
	}{{"deliveries", r.DeliveryTimes}, {"sends", r.SendTimes}} {
		if c.times.TotalCount() > 0 {
			p.series = append(p.series, series{c.name, percentiles(c.times)})
		}
	}
	p.x = decades(ends(p.series, point.width, 1, 10))
	_, p.x.to = ends(p.series, point.width, 1, 10)
	p.x.to = max(p.x.to, 10)
	p.x.label = "percentile"
	p.x.ticks = slices.DeleteFunc(p.x.ticks, func(t tick) bool { return t.at > p.x.to })
	for i, t := range p.x.ticks {
		p.x.ticks[i].label = strconv.FormatFloat(100-100/t.at, 'f', max(0, i-2), 64)
	}
	p.y = decades(ends(p.series, point.height, 1, 10))
	p.y.label = "latency in ms"
	return p
}

// percentiles returns points of latency in ms over 1/(1-q) for the quantile q.
func percentiles(h *hdrhistogram.Histogram) []point {
	var points []point
	const perDecade = 20
	for i := range 5*perDecade + 1 {
		x := math.Pow(10, float64(i)/perDecade)
		if x > float64(h.TotalCount()) && i > 0 {
			break
		}
		y := float64(h.ValueAtQuantile(100*(1-1/x))) / 1e6
		points = append(points, point{x, max(y, 1e-6)})
	}
	return points
}

// throughput returns a plot of deliveries over time, or of sends if nothing was
// delivered.
func throughput(r *bench.Result) panel {
	s := series{name: "deliveries"}
	of := func(s bench.Sample) float64 { return s.Deliveries }
	if r.Deliveries == 0 {
		s.name, of = "sends", func(s bench.Sample) float64 { return s.Sends }
	}
	for _, sample := range r.Series {
		s.points = append(s.points, point{sample.At, of(sample)})
	}
	p := panel{series: []series{s}}
	seconds := func(v float64) string { return strconv.FormatFloat(v, 'g', 3, 64) }
	_, end := ends(p.series, point.width, 0, 1)
	_, most := ends(p.series, point.height, 0, 1)
	p.x, p.y = linear(end, seconds), linear(most, human.Count)
	p.x.label, p.y.label = "seconds since the load began", "a second"
	return p
}
