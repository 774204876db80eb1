// Package report turns the results of runs into tables, plots and verdicts.
package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Comparison holds the results of several workloads on several systems.
type Comparison struct {
	Loads   []Load
	Titles  map[string]string // of all workloads by name, also of those that did not run
	Systems []string          // the first one is compared with the others
	Runs    map[Key][]*bench.Result

	Rounds           int
	Warmup, Duration time.Duration // of each run
	Quick            bool          // few subscribers for a moment: it shows that all works, not how fast
	Started          time.Time
	Took             time.Duration
}

// Key names the runs of a workload on a system.
type Key struct{ Load, System string }

// Load is a workload in the report of a comparison.
type Load struct {
	Name    string
	Title   string
	Figures []string
	Goals   []Goal
}

// values returns a figure of all rounds, in order of size. A run that failed before
// it had the figure has none.
func (c *Comparison) values(load, system, name string) []float64 {
	var all []float64
	for _, r := range c.Runs[Key{load, system}] {
		if v := figures[name].of(r); v != 0 {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

// Median returns the middle one of a figure's values, and whether there is one.
func (c *Comparison) Median(load, system, name string) (float64, bool) {
	all := c.values(load, system, name)
	if len(all) == 0 {
		return 0, false
	}
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return all[middle], true
	}
	return (all[middle-1] + all[middle]) / 2, true
}

// Faults returns an error if a run of the systems had any.
func (c *Comparison) Faults(systems ...string) error {
	for key, runs := range c.Runs {
		for _, r := range runs {
			if slices.Contains(systems, key.System) && r.Faults.Err() != nil {
				return r.Faults.Err()
			}
		}
	}
	return nil
}

// FaultList lists the runs that have faults.
func (c *Comparison) FaultList() string {
	var b strings.Builder
	for _, l := range c.Loads {
		for _, system := range c.Systems {
			for i, r := range c.Runs[Key{l.Name, system}] {
				f := r.Faults
				if f.Err() == nil {
					continue
				}
				fmt.Fprintf(&b, "- FAULTS: %s, %s, round %d: %d deliveries lost, %d duplicates, %d out of order, %d streams ended, %d sends refused. %s\n",
					l.Title, system, i+1, f.Lost, f.Duplicates, f.Reordered, f.Ended, f.Refused, f.Cause)
			}
		}
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// Caution returns a warning about the numbers of a quick comparison.
func (c *Comparison) Caution() string {
	if !c.Quick {
		return ""
	}
	return "This was a quick comparison, with few subscribers and for a moment: it shows that all works, not how fast.\n\n"
}

// Origin names the command that has written a report.
func (c *Comparison) Origin(command string) string {
	return fmt.Sprintf("Written by `chatbench %s`, not edited: %d rounds of %v, each after %v of warm-up.\n\n", command, c.Rounds, c.Duration, c.Warmup)
}

// Occasion returns the time and the machine of the runs.
func (c *Comparison) Occasion() string {
	m := bench.ThisMachine()
	return fmt.Sprintf("- %s, in %v\n", c.Started.UTC().Format("2006-01-02 15:04 UTC"), c.Took.Round(time.Second)) +
		fmt.Sprintf("- %d cores (%s), %s of memory, Linux %s, %s, %s; server and generator share them\n", m.Cores, m.CPU, m.Memory, m.Kernel, m.OS, m.Go)
}

// Medians returns the figures of all systems, with a heading.
func (c *Comparison) Medians() string {
	var b strings.Builder
	b.WriteString("## Medians\n\nIn parentheses the lowest and the highest of the rounds.\n\n| workload | figure |")
	for _, name := range c.Systems {
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(c.Systems)) + "\n")
	for _, l := range c.Loads {
		for _, name := range l.Figures {
			fmt.Fprintf(&b, "| %s | %s |", l.Title, name)
			for _, system := range c.Systems {
				fmt.Fprintf(&b, " %s |", c.cell(l.Name, system, name))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// cell is a median with its range.
func (c *Comparison) cell(load, system, name string) string {
	v, ok := c.Median(load, system, name)
	if !ok {
		return ""
	}
	write, all := figures[name].human, c.values(load, system, name)
	if len(all) == 1 {
		return write(v)
	}
	return fmt.Sprintf("%s (%s – %s)", write(v), write(all[0]), write(all[len(all)-1]))
}

// Ratios returns a table of the figures of the first system, their ratios to those of the
// others, and the goals.
func (c *Comparison) Ratios() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| workload | figure | %s |", c.Systems[0])
	for _, name := range c.Systems[1:] {
		fmt.Fprintf(&b, " ÷ %s |", name)
	}
	b.WriteString(" to reach | reached |\n|---|---|" + strings.Repeat("--:|", len(c.Systems)) + "---|---|\n")
	for _, l := range c.Loads {
		for _, name := range l.Figures {
			c.ratioRow(&b, l, name)
		}
	}
	return b.String()
}

func (c *Comparison) ratioRow(b *strings.Builder, l Load, name string) {
	v, _ := c.Median(l.Name, c.Systems[0], name)
	fmt.Fprintf(b, "| %s | %s | %s |", l.Title, name, figures[name].human(v))
	for _, system := range c.Systems[1:] {
		other, ok := c.Median(l.Name, system, name)
		if !ok || other == 0 {
			b.WriteString(" |")
			continue
		}
		fmt.Fprintf(b, " %s |", human.Ratio(v/other))
	}
	var texts, verdicts []string
	for _, g := range l.Goals {
		if g.Figure != name || c.Quick {
			continue
		}
		texts = append(texts, c.text(g))
		verdict := "?" // its reference was not measured
		if reached, known := c.reached(l.Name, g); known {
			verdict = yesOrNo(reached)
		}
		verdicts = append(verdicts, verdict)
	}
	fmt.Fprintf(b, " %s | %s |\n", strings.Join(texts, ", "), strings.Join(verdicts, ", "))
}
