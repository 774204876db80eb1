package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// report prints the table of ratios, and writes the whole report with its plot
// if it has a file.
func (cmp *comparison) report(w io.Writer, file string) error {
	if _, err := io.WriteString(w, cmp.faultList()+cmp.caution()+cmp.ratioTable()); err != nil {
		return err
	}
	if file == "" {
		return nil
	}
	plotFile := strings.TrimSuffix(file, filepath.Ext(file)) + ".svg"
	if err := cmp.plot(plotFile); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return os.WriteFile(file, []byte(cmp.markdown(filepath.Base(plotFile))), 0o644) //nolint:gosec // a report is for everybody
}

// markdown is the whole report.
func (cmp *comparison) markdown(plotFile string) string {
	var b strings.Builder
	b.WriteString("# simplechat and its peers\n\n")
	b.WriteString(cmp.origin("compare"))
	b.WriteString(cmp.faultList() + cmp.caution())
	b.WriteString(cmp.ratioTable())
	fmt.Fprintf(&b, "\n![CPU and latency by workload](%s)\n\n", plotFile)
	b.WriteString(mediansHeading + cmp.absoluteTable())
	b.WriteString("\n## What was measured\n\n")
	b.WriteString(cmp.circumstances())
	return b.String()
}

// mediansHeading stands above the absolute tables.
const mediansHeading = "## Medians\n\nIn parentheses the lowest and the highest of the rounds.\n\n"

// origin says which command has written a report.
func (cmp *comparison) origin(command string) string {
	f := cmp.flags
	return fmt.Sprintf("Written by `chatbench %s`, not edited: %d rounds of %v, each after %v of warm-up.\n\n", command, f.Rounds, f.Duration, f.Warmup)
}

// caution says what numbers of a quick comparison are worth.
func (cmp *comparison) caution() string {
	if !cmp.flags.Quick {
		return ""
	}
	return "This was a quick comparison, with few subscribers and for a moment: it shows that all works, not how fast.\n\n"
}

// ratioTable has the figures of the first system, and what they are of those of
// the others.
func (cmp *comparison) ratioTable() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| workload | figure | %s |", cmp.systems[0])
	for _, name := range cmp.systems[1:] {
		fmt.Fprintf(&b, " ÷ %s |", name)
	}
	b.WriteString(" to reach | reached |\n|---|---|" + strings.Repeat("--:|", len(cmp.systems)) + "---|---|\n")
	for _, l := range cmp.loads {
		for _, name := range l.figures {
			cmp.ratioRow(&b, l, name)
		}
	}
	return b.String()
}

func (cmp *comparison) ratioRow(b *strings.Builder, l load, name string) {
	v, _ := cmp.median(l.name, cmp.systems[0], name)
	fmt.Fprintf(b, "| %s | %s | %s |", l.title(), name, figures[name].human(v))
	for _, system := range cmp.systems[1:] {
		other, ok := cmp.median(l.name, system, name)
		if !ok || other == 0 {
			b.WriteString(" |")
			continue
		}
		fmt.Fprintf(b, " %s |", ratio(v/other))
	}
	var texts, verdicts []string
	for _, g := range l.goals {
		if g.figure != name || cmp.flags.Quick {
			continue
		}
		texts = append(texts, g.text())
		verdict := "?" // its reference was not measured
		if reached, known := cmp.reached(l.name, g); known {
			verdict = yesOrNo(reached)
		}
		verdicts = append(verdicts, verdict)
	}
	fmt.Fprintf(b, " %s | %s |\n", strings.Join(texts, ", "), strings.Join(verdicts, ", "))
}

// yesOrNo is a verdict.
func yesOrNo(reached bool) string {
	if reached {
		return "yes"
	}
	return "**no**"
}

// text is a goal in words.
func (g goal) text() string {
	sign := "≤"
	if g.least {
		sign = "≥"
	}
	switch {
	case g.system != "":
		return fmt.Sprintf("%s %s × %s", sign, ratio(g.factor), g.system)
	case g.load != "":
		return fmt.Sprintf("%s %s × that of %s", sign, ratio(g.factor), loadTitle(g.load))
	default:
		return sign + " " + figures[g.figure].human(g.limit)
	}
}

// ratio is a factor with three digits or so.
func ratio(v float64) string {
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// absoluteTable has the figures of all systems.
func (cmp *comparison) absoluteTable() string {
	var b strings.Builder
	b.WriteString("| workload | figure |")
	for _, name := range cmp.systems {
		fmt.Fprintf(&b, " %s |", name)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(cmp.systems)) + "\n")
	for _, l := range cmp.loads {
		for _, name := range l.figures {
			fmt.Fprintf(&b, "| %s | %s |", l.title(), name)
			for _, system := range cmp.systems {
				fmt.Fprintf(&b, " %s |", cmp.cell(l.name, system, name))
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// cell is a median with its range.
func (cmp *comparison) cell(load, system, name string) string {
	v, ok := cmp.median(load, system, name)
	if !ok {
		return ""
	}
	human, all := figures[name].human, cmp.values(load, system, name)
	if len(all) == 1 {
		return human(v)
	}
	return fmt.Sprintf("%s (%s – %s)", human(v), human(all[0]), human(all[len(all)-1]))
}

// faultList names the runs in which something was lost.
func (cmp *comparison) faultList() string {
	var b strings.Builder
	for _, l := range cmp.loads {
		for _, system := range cmp.systems {
			for i, r := range cmp.runs[runKey{l.name, system}] {
				f := r.Faults
				if f.err() == nil {
					continue
				}
				fmt.Fprintf(&b, "- FAULTS: %s, %s, round %d: %d deliveries lost, %d duplicates, %d out of order, %d streams ended, %d sends refused. %s\n",
					l.title(), system, i+1, f.Lost, f.Duplicates, f.Reordered, f.Ended, f.Refused, f.Cause)
			}
		}
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// occasion is when and where.
func (cmp *comparison) occasion() string {
	m := thisMachine()
	return fmt.Sprintf("- %s, in %v\n", cmp.started.UTC().Format("2006-01-02 15:04 UTC"), cmp.took.Round(time.Second)) +
		fmt.Sprintf("- %d cores (%s), %s of memory, Linux %s, %s, %s; server and generator share them\n", m.Cores, m.CPU, m.Memory, m.Kernel, m.OS, m.Go)
}

// circumstances are machine, versions and date.
func (cmp *comparison) circumstances() string {
	var b strings.Builder
	b.WriteString(cmp.occasion())
	fmt.Fprintf(&b, "- %s: `simplechat serve --memory`\n", cmp.version)
	for _, name := range cmp.systems {
		if module := systems[name].module; module != "" {
			fmt.Fprintf(&b, "- %s: %s %s, `chatbench peer %s`\n", name, module, moduleVersion(module), systems[name].peer)
		}
	}
	b.WriteString("- floor: one write(2) of as many bytes for each delivery, `chatbench peer floor`\n")
	b.WriteString("- gRPC over h2c, NATS in its text protocol; content of 100 bytes unless a workload says otherwise; subscribers on own connections, " +
		"4 connections to send with 60 sends in flight each; latency from when a message was due; a new process for each run\n")
	return b.String()
}
