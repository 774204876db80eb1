package main

import (
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// plot draws what a delivery costs, and how late it is, by workload.
func (cmp *comparison) plot(file string) error {
	var panels []*plot.Plot
	for _, p := range []struct {
		figure, unit string
		scale        float64
	}{
		{figCPU, "µs", 1e3},
		{figP99, "ms", 1e6},
	} {
		panel, err := cmp.panel(p.figure, p.unit, p.scale)
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
func (cmp *comparison) panel(name, unit string, scale float64) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = name + " by workload (less is better)"
	p.Y.Label.Text = unit
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	points := make([]plotter.XYs, len(cmp.systems))
	var titles []string
	for _, l := range cmp.loads {
		if !slices.Contains(l.figures, name) {
			continue
		}
		for i, system := range cmp.systems {
			if v, ok := cmp.median(l.name, system, name); ok && v > 0 {
				points[i] = append(points[i], plotter.XY{X: float64(len(titles)), Y: v / scale})
			}
		}
		titles = append(titles, strings.ReplaceAll(l.title(), ", ", ",\n"))
	}
	drawn := false
	for i, system := range cmp.systems {
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
