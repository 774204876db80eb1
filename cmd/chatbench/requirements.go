package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// version is a simplechat: the names of its systems.
type version struct{ always, memory string }

var (
	now  = version{syncAlways, inMemory}
	then = version{beforeAlways, beforeMemory}
)

// requirement is a number that the log on the disk has to reach.
type requirement struct {
	text  string
	human func(float64) string
	sign  string // how the value is to be compared with the limit: ≥, ≤ or <
	value func(*comparison, version) (float64, bool)
	limit func(*comparison) (float64, bool)
	bound string // what the limit is, unless it is a fixed number
}

// requirements are the rows of the report.
func requirements() []requirement {
	const mib = 1 << 20
	soon, rest := fixed(float64(50*time.Millisecond)), fixed(80*mib)
	return []requirement{
		{text: "sends alone, 240 in flight, always ÷ memory", human: ratio, sign: "≥",
			value: overMemory(loadSend, figSends), limit: fixed(0.85)},
		{text: "deliveries at 4,000/s × 1,000, 240 in flight, always ÷ memory", human: ratio, sign: "≥",
			value: overMemory(load4000, figDeliveries), limit: fixed(0.98)},
		{text: "deliveries at 4,000/s × 1,000, 960 in flight, always ÷ memory", human: ratio, sign: "≥",
			value: overMemory(load960, figDeliveries), limit: fixed(0.98)},
		{text: "a single send, p50, always − memory", human: humanTime, sign: "≤",
			value: aboveMemory(loadSingle, figSendP50), limit: syncs(1.5), bound: "1.5 × a bare write and sync: "},
		{text: "start after SIGKILL, until the first message reaches a subscriber", human: humanTime, sign: "≤",
			value: withStored(figKilled), limit: soon},
		{text: "start after a stop, until the first message reaches a subscriber", human: humanTime, sign: "≤",
			value: withStored(figStopped), limit: soon},
		{text: "memory at rest", human: humanBytes, sign: "≤", value: withStored(figRest), limit: rest},
		{text: "memory after one subscriber read all as JSON", human: humanBytes, sign: "≤",
			value: withStored(figJSON), limit: fixed(200 * mib)},
		{text: "one subscriber reads all (gRPC, protobuf), messages/s", human: humanCount, sign: "≥",
			value: withStored(figReads), limit: fixed(400_000)},
		{text: "p99 of live subscribers, beside 8 readers ÷ without", human: ratio, sign: "≤",
			value: quotient(loadHistory, figBeside, figAlone), limit: fixed(1.5)},
		{text: "10,000 clients reconnect, cold ÷ hot", human: ratio, sign: "≤",
			value: quotient(loadReconnect, figCold, figHot), limit: fixed(1.3)},
		{text: "size of `simplechat`", human: humanBytes, sign: "<", value: binarySize,
			limit: func(cmp *comparison) (float64, bool) { return binarySize(cmp, then) }, bound: "before: "},
	}
}

// withStored is a figure of the server that has a long history on its disk.
func withStored(figure string) func(*comparison, version) (float64, bool) {
	return func(cmp *comparison, v version) (float64, bool) { return cmp.median(loadHistory, v.always, figure) }
}

// overMemory is what a figure is of that in memory.
func overMemory(load, figure string) func(*comparison, version) (float64, bool) {
	return func(cmp *comparison, v version) (float64, bool) {
		disk, ok1 := cmp.median(load, v.always, figure)
		memory, ok2 := cmp.median(load, v.memory, figure)
		return disk / memory, ok1 && ok2
	}
}

// aboveMemory is how much larger a figure is than in memory.
func aboveMemory(load, figure string) func(*comparison, version) (float64, bool) {
	return func(cmp *comparison, v version) (float64, bool) {
		disk, ok1 := cmp.median(load, v.always, figure)
		memory, ok2 := cmp.median(load, v.memory, figure)
		return disk - memory, ok1 && ok2
	}
}

// quotient is a figure divided by another one of the same load.
func quotient(load, figure, by string) func(*comparison, version) (float64, bool) {
	return func(cmp *comparison, v version) (float64, bool) {
		one, ok1 := cmp.median(load, v.always, figure)
		other, ok2 := cmp.median(load, v.always, by)
		return one / other, ok1 && ok2
	}
}

func binarySize(cmp *comparison, v version) (float64, bool) {
	info, err := os.Stat(cmp.server(v.always))
	if err != nil {
		return 0, false // it was not given
	}
	return float64(info.Size()), true
}

func fixed(limit float64) func(*comparison) (float64, bool) {
	return func(*comparison) (float64, bool) { return limit, true }
}

// syncs is a multiple of what a bare write and its sync take.
func syncs(factor float64) func(*comparison) (float64, bool) {
	return func(cmp *comparison) (float64, bool) {
		median := medianTime(cmp.syncs)
		return factor * float64(median), median > 0
	}
}

// requirementTable has what is required, what was reached, and what the older
// simplechat reached.
func (cmp *comparison) requirementTable() string {
	var b strings.Builder
	b.WriteString("| figure | before | now | required | reached |\n|---|--:|--:|---|---|\n")
	for _, r := range requirements() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.text, r.cell(cmp, then), r.cell(cmp, now), r.required(cmp), r.verdict(cmp))
	}
	return b.String()
}

// cell is the requirement's value for a version, or a dash.
func (r requirement) cell(cmp *comparison, v version) string {
	value, ok := r.value(cmp, v)
	if !ok {
		return "–"
	}
	return r.human(value)
}

// required is the limit in words.
func (r requirement) required(cmp *comparison) string {
	text := "–"
	if limit, ok := r.limit(cmp); ok {
		text = r.human(limit)
	}
	return r.sign + " " + r.bound + text
}

// verdict tells whether the requirement was reached. A quick run does not show it.
func (r requirement) verdict(cmp *comparison) string {
	value, ok1 := r.value(cmp, now)
	limit, ok2 := r.limit(cmp)
	if !ok1 || !ok2 || cmp.flags.Quick {
		return "–"
	}
	reached := map[string]bool{"≥": value >= limit, "≤": value <= limit, "<": value < limit}[r.sign]
	return yesOrNo(reached)
}
