package report

import (
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Plot draws what a delivery costs, and how late it is, by workload, to an SVG file.
func (c *Comparison) Plot(file string) error {
	var panels []*plot.Plot
	for _, p := range []struct {
		figure, unit string
		scale        float64
	}{
		{CPU, "µs", 1e3},
		{P99, "ms", 1e6},
	} {
		panel, err := c.panel(p.figure, p.unit, p.scale)
		if err != nil {
			return err
		}
		panels = append(panels, panel)
	}
	return writePanels(file, panels...)
}

// glyphs tell systems apart where colours do not.
var glyphs = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{}, draw.PlusGlyph{},
}

// panel draws a figure of each system under each workload that has it.
func (c *Comparison) panel(name, unit string, scale float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name + " by workload (less is better)"
	p.Y.Label.Text = unit
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	points := make([]plotter.XYs, len(c.Systems))
	var titles []string
	for _, l := range c.Loads {
		if !slices.Contains(l.Figures, name) {
			continue
		}
		for i, system := range c.Systems {
			if v, ok := c.Median(l.Name, system, name); ok && v > 0 {
				points[i] = append(points[i], plotter.XY{X: float64(len(titles)), Y: v / scale})
			}
		}
		titles = append(titles, strings.ReplaceAll(l.Title, ", ", ",\n"))
	}
	drawn := false
	for i, system := range c.Systems {
		if len(points[i]) == 0 {
			continue
		}
		drawn = true
		scatter, err := plotter.NewScatter(points[i])
		if err != nil {
			return nil, err
		}
		scatter.GlyphStyle = draw.GlyphStyle{Color: palette[i%len(palette)], Radius: vg.Points(4), Shape: glyphs[i%len(glyphs)]}
		p.Add(scatter)
		p.Legend.Add(system, scatter)
	}
	if !drawn { // a log scale needs a range all the same
		p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 0, 1, 1, 10
		return p, nil
	}
	p.NominalX(titles...)
	wholeDecades(&p.Y)
	p.X.Min, p.X.Max = -0.5, float64(len(titles))+0.5 // room for the legend
	return p, nil
}
