package report

import (
	"fmt"
	"strings"
)

// Requirement is a number to reach, in a report that compares a simplechat with an
// older one.
type Requirement struct {
	Text        string
	Human       func(float64) string
	Now, Before Value
	Sign        string // how Now is to be compared with Limit: ≥, ≤ or <
	Limit       Value
	Bound       string // description of the limit, unless it is a fixed number
}

// Value is a number that may not be known.
type Value struct {
	Number float64
	Known  bool
}

// Requirements returns a table of the required values, the reached ones, and those of the
// older simplechat. A quick run gets no verdict.
func Requirements(all []Requirement, quick bool) string {
	var b strings.Builder
	b.WriteString("| figure | before | now | required | reached |\n|---|--:|--:|---|---|\n")
	for _, r := range all {
		verdict := "–"
		if !quick {
			verdict = r.verdict()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.Text, r.write(r.Before), r.write(r.Now), r.Sign+" "+r.Bound+r.write(r.Limit), verdict)
	}
	return b.String()
}

// write returns a value in words, or a dash.
func (r Requirement) write(v Value) string {
	if !v.Known {
		return "–"
	}
	return r.Human(v.Number)
}

// verdict reports whether the requirement was reached.
func (r Requirement) verdict() string {
	if !r.Now.Known || !r.Limit.Known {
		return "–"
	}
	now, limit := r.Now.Number, r.Limit.Number
	return yesOrNo(map[string]bool{"≥": now >= limit, "≤": now <= limit, "<": now < limit}[r.Sign])
}
