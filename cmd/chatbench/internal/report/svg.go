package report

import (
	"bytes"
	"fmt"
	"html"
	"os"
	"slices"
	"strings"
)

// Sizes of a plot in pixels.
const (
	plotWidth   = 900
	panelHeight = 325
	marginLeft  = 75
	marginRight = 25
	marginAbove = 30
	marginBelow = 70
	lineHeight  = 14
)

// palette tells colours apart for the colour-blind too (Okabe and Ito).
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"}

// marks tell series apart where colours do not: a circle, a square, a triangle, a
// cross and a plus.
var marks = []string{"m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "m-4-4h8v8h-8z", "m0-5l5 8h-10z", "m-4-4l8 8m0-8l-8 8", "m-5 0h10m-5-5v10"}

// panel is one of the diagrams of a plot.
type panel struct {
	title     string
	x, y      axis
	series    []series
	marked    bool // each point has a mark; else a line joins them
	legendLow bool // the legend is below the data, on the right; else above them
}

// series are points of one colour.
type series struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// writePanels writes panels below each other to an SVG file.
func writePanels(file string, panels ...panel) error {
	var b bytes.Buffer
	height := panelHeight * len(panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height) // on a dark page too
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(0 %d)">`+"\n", i*panelHeight)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return os.WriteFile(file, b.Bytes(), 0o644) //nolint:gosec // a plot is for everybody
}

// left and top are where a value is drawn.
func (p panel) left(x float64) float64 {
	return marginLeft + p.x.part(x)*(plotWidth-marginLeft-marginRight)
}

func (p panel) top(y float64) float64 {
	return panelHeight - marginBelow - p.y.part(y)*(panelHeight-marginAbove-marginBelow)
}

func (p panel) draw(b *bytes.Buffer) {
	const bottom, right = panelHeight - marginBelow, plotWidth - marginRight
	text(b, plotWidth/2, marginAbove/2, "middle", p.title)
	text(b, plotWidth/2, panelHeight-lineHeight/2, "middle", p.x.label)
	fmt.Fprintf(b, `<g transform="translate(16 %d) rotate(-90)">`, bottom/2)
	text(b, 0, 0, "middle", p.y.label)
	b.WriteString("</g>\n")
	var grid strings.Builder
	for _, t := range p.x.ticks {
		fmt.Fprintf(&grid, "M%.1f %dV%d", p.left(t.at), marginAbove, bottom)
		text(b, p.left(t.at), bottom+lineHeight+2, "middle", t.label)
	}
	for _, t := range p.y.ticks {
		fmt.Fprintf(&grid, "M%d %.1fH%d", marginLeft, p.top(t.at), right)
		text(b, marginLeft-6, p.top(t.at)+4, "end", t.label)
	}
	fmt.Fprintf(b, `<path d="%s" stroke="#ddd"/>`+"\n", grid.String())
	fmt.Fprintf(b, `<path d="M%d %dV%dH%d" fill="none" stroke="#000"/>`+"\n", marginLeft, marginAbove, bottom, right)
	for i, s := range slices.Backward(p.series) { // the first one above the others
		p.drawSeries(b, i, s)
	}
}

// drawSeries draws series number i and its line in the legend.
func (p panel) drawSeries(b *bytes.Buffer, i int, s series) {
	const sample = 20 // pixels
	x, y := float64(plotWidth-marginRight-sample-5), float64(marginAbove+lineHeight*(i+1))
	if p.legendLow {
		y = float64(panelHeight - marginBelow - 8 - lineHeight*i)
	}
	text(b, x-5, y, "end", s.name)
	var path strings.Builder
	if p.marked {
		fmt.Fprintf(&path, "M%.1f %.1f%s", x+sample/2, y-4, marks[i%len(marks)])
	} else {
		fmt.Fprintf(&path, "M%.1f %.1fh%d", x, y-4, sample)
	}
	for j, at := range s.points {
		command, mark := "L", ""
		if p.marked {
			mark = marks[i%len(marks)]
		}
		if j == 0 || p.marked {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f%s", command, p.left(at.x), p.top(at.y), mark)
	}
	fill := "none"
	if p.marked {
		fill = palette[i%len(palette)]
	}
	fmt.Fprintf(b, `<path d="%s" fill="%s" stroke="%s" stroke-width="1.5"/>`+"\n", path.String(), fill, palette[i%len(palette)])
}

// text writes lines below each other.
func text(b *bytes.Buffer, x, y float64, anchor, lines string) {
	for line := range strings.SplitSeq(lines, "\n") {
		if line != "" {
			fmt.Fprintf(b, `<text x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", x, y, anchor, html.EscapeString(line))
		}
		y += lineHeight
	}
}
