package report

import (
	"fmt"
	"strings"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Goal is a figure to reach.
type Goal struct {
	Figure string
	Least  bool    // at least that much; else at most
	Factor float64 // factor of the reference
	System string  // the reference is this system under the same load,
	Load   string  // or the system itself under this load,
	Limit  float64 // or a number
}

// reference returns the reference of a load's goal, and reports whether it was measured.
func (c *Comparison) reference(load string, g Goal) (float64, bool) {
	switch {
	case g.System != "":
		v, ok := c.Median(load, g.System, g.Figure)
		return g.Factor * v, ok
	case g.Load != "":
		v, ok := c.Median(g.Load, c.Systems[0], g.Figure)
		return g.Factor * v, ok
	default:
		return g.Limit, true
	}
}

// reached reports whether the first system reached a goal, and whether the result is
// known.
func (c *Comparison) reached(load string, g Goal) (reached, known bool) {
	v, ok := c.Median(load, c.Systems[0], g.Figure)
	reference, ok2 := c.reference(load, g)
	if !ok || !ok2 {
		return false, false
	}
	if g.Least {
		return v >= reference, true
	}
	return v <= reference, true
}

// text returns a goal in words.
func (c *Comparison) text(g Goal) string {
	sign := "≤"
	if g.Least {
		sign = "≥"
	}
	switch {
	case g.System != "":
		return fmt.Sprintf("%s %s × %s", sign, human.Ratio(g.Factor), g.System)
	case g.Load != "":
		return fmt.Sprintf("%s %s × that of %s", sign, human.Ratio(g.Factor), c.Titles[g.Load])
	default:
		return sign + " " + figures[g.Figure].human(g.Limit)
	}
}

// yesOrNo returns a verdict in words.
func yesOrNo(reached bool) string {
	if reached {
		return "yes"
	}
	return "**no**"
}

// Toggling returns a table of the latencies of honest subscribers without and with
// toggling clients. The goals of each load refer to the load without toggling clients.
func (c *Comparison) Toggling() string {
	var b strings.Builder
	b.WriteString("| workload | figure | without toggling | with | ratio | to reach | reached |\n|---|---|--:|--:|--:|---|---|\n")
	for _, l := range c.Loads {
		for _, g := range l.Goals {
			without, known := c.Median(g.Load, c.Systems[0], g.Figure)
			with, _ := c.Median(l.Name, c.Systems[0], g.Figure)
			write := figures[g.Figure].human
			if !known {
				fmt.Fprintf(&b, "| %s | %s | ? | %s | ? | ≤ %s | ? |\n", l.Title, g.Figure, write(with), human.Ratio(g.Factor))
				continue
			}
			verdict := yesOrNo(with <= g.Factor*without)
			if c.Quick {
				verdict = "–"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | ≤ %s | %s |\n",
				l.Title, g.Figure, write(without), write(with), human.Ratio(with/without), human.Ratio(g.Factor), verdict)
		}
	}
	return b.String()
}
