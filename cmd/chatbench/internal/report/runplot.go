package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"strconv"

	"github.com/HdrHistogram/hdrhistogram-go"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Sizes of a plot.
const (
	plotWidth   = 24 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
	panelGap    = 5 * vg.Millimeter
)

// palette tells colours apart for the colour-blind too (Okabe and Ito).
var palette = []color.Color{
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
	color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
}

// PlotRun draws a run to an SVG file: latencies above, throughput below.
func PlotRun(file string, r *bench.Result) error {
	latencies, err := latencyPanel(r)
	if err != nil {
		return fmt.Errorf("plot latencies: %w", err)
	}
	throughput, err := throughputPanel(r)
	if err != nil {
		return fmt.Errorf("plot throughput: %w", err)
	}
	return writePanels(file, latencies, throughput)
}

// latencyPanel draws by percentile, on a scale that widens towards 100.
func latencyPanel(r *bench.Result) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = r.Workload.String()
	p.X.Label.Text = "percentile"
	p.Y.Label.Text = "latency in ms"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, percentiles{}
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top, p.Legend.Left = true, true
	p.Add(plotter.NewGrid())
	curves := []struct {
		name  string
		times *hdrhistogram.Histogram
	}{{"deliveries", r.DeliveryTimes}, {"sends", r.SendTimes}}
	empty := true
	for i, c := range curves {
		if c.times.TotalCount() == 0 {
			continue
		}
		empty = false
		if err := addLine(p, i, c.name, percentileCurve(c.times)); err != nil {
			return nil, err
		}
	}
	if empty { // a log scale needs a range all the same
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1, 10, 1, 10
	}
	wholeDecades(&p.Y)
	return p, nil
}

// percentileCurve returns points of latency in ms over 1/(1-q) for the
// quantile q.
func percentileCurve(h *hdrhistogram.Histogram) plotter.XYs {
	var points plotter.XYs
	const perDecade = 20
	for i := range 5*perDecade + 1 {
		x := math.Pow(10, float64(i)/perDecade)
		if x > float64(h.TotalCount()) && i > 0 {
			break
		}
		y := float64(h.ValueAtQuantile(100*(1-1/x))) / 1e6
		points = append(points, plotter.XY{X: x, Y: max(y, 1e-6)})
	}
	return points
}

// wholeDecades widens a log scale so that two ticks at least have labels.
func wholeDecades(axis *plot.Axis) {
	axis.Min = math.Pow(10, math.Floor(math.Log10(axis.Min)))
	axis.Max = math.Pow(10, math.Ceil(math.Log10(axis.Max)))
	if axis.Max <= axis.Min {
		axis.Max = 10 * axis.Min
	}
}

// countTicks marks numbers as human.Count writes them.
type countTicks struct{}

// Ticks implements [plot.Ticker].
func (countTicks) Ticks(from, to float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(from, to)
	for i := range ticks {
		if ticks[i].Label != "" {
			ticks[i].Label = human.Count(ticks[i].Value)
		}
	}
	return ticks
}

// percentiles marks 0, 90, 99, 99.9 and so on.
type percentiles struct{}

// Ticks implements [plot.Ticker].
func (percentiles) Ticks(from, to float64) []plot.Tick {
	var ticks []plot.Tick
	for x, i := 1.0, 0; x <= to; x, i = x*10, i+1 {
		if x < from {
			continue
		}
		label := strconv.FormatFloat(100-100/x, 'f', max(0, i-2), 64)
		ticks = append(ticks, plot.Tick{Value: x, Label: label})
	}
	return ticks
}

func throughputPanel(r *bench.Result) (*plot.Plot, error) {
	p := plot.New()
	p.X.Label.Text = "seconds since the load began"
	p.Y.Label.Text = "a second"
	p.Y.Min = 0
	p.Y.Tick.Marker = countTicks{}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	deliveries := make(plotter.XYs, len(r.Series))
	for i, s := range r.Series {
		deliveries[i] = plotter.XY{X: s.At, Y: s.Deliveries}
	}
	name := "deliveries"
	if r.Deliveries == 0 {
		name = "sends"
		for i, s := range r.Series {
			deliveries[i].Y = s.Sends
		}
	}
	if len(deliveries) == 0 {
		return p, nil
	}
	return p, addLine(p, 0, name, deliveries)
}

// addLine draws points with colour number i.
func addLine(p *plot.Plot, i int, name string, points plotter.XYs) error {
	line, err := plotter.NewLine(points)
	if err != nil {
		return err
	}
	line.Color = palette[i%len(palette)]
	line.Width = vg.Points(1.5)
	p.Add(line)
	p.Legend.Add(name, line)
	return nil
}

// writePanels writes plots below each other to an SVG file.
func writePanels(file string, panels ...*plot.Plot) error {
	rows := make([][]*plot.Plot, len(panels))
	for i, p := range panels {
		rows[i] = []*plot.Plot{p}
	}
	canvas := vgsvg.New(plotWidth, panelHeight*vg.Length(len(panels)))
	dc := draw.New(canvas)
	dc.SetColor(color.White) // on a dark page too
	dc.Fill(dc.Path())
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadY: panelGap, PadTop: panelGap, PadBottom: panelGap, PadLeft: panelGap, PadRight: panelGap}
	for i, row := range plot.Align(rows, tiles, dc) {
		panels[i].Draw(row[0])
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // a plot is for everybody
}
