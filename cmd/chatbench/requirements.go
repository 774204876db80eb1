package main

import (
	"os"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/report"
)

// version holds the names of the systems of one version of simplechat.
type version struct{ always, memory string }

var (
	now  = version{syncAlways, inMemory}
	then = version{beforeAlways, beforeMemory}
)

// measured computes a figure of a version from the runs.
type measured func(*comparison, version) report.Value

// requirements are the rows of the storage report: the requirements for the log on the
// disk.
func (cmp *comparison) requirements() []report.Requirement {
	const mib = 1 << 20
	var all []report.Requirement
	row := func(text string, write func(float64) string, value measured, sign string, limit report.Value, bound string) {
		all = append(all, report.Requirement{
			Text: text, Human: write, Now: value(cmp, now), Before: value(cmp, then), Sign: sign, Limit: limit, Bound: bound,
		})
	}
	soon := fixed(float64(50 * time.Millisecond))
	row("sends alone, 240 in flight, always ÷ memory", human.Ratio, overMemory(loadSend, report.Sends), "≥", fixed(0.85), "")
	row("deliveries at 4,000/s × 1,000, 240 in flight, always ÷ memory", human.Ratio, overMemory(load4000, report.Deliveries), "≥", fixed(0.98), "")
	row("deliveries at 4,000/s × 1,000, 960 in flight, always ÷ memory", human.Ratio, overMemory(load960, report.Deliveries), "≥", fixed(0.98), "")
	row("a single send, p50, always − memory", human.Time, aboveMemory(loadSingle, report.SendP50), "≤", cmp.bareSyncs(1.5), "1.5 × a bare write and sync: ")
	row("start after SIGKILL, until the first message reaches a subscriber", human.Time, withStored(report.Killed), "≤", soon, "")
	row("start after a stop, until the first message reaches a subscriber", human.Time, withStored(report.Stopped), "≤", soon, "")
	row("memory at rest", human.Bytes, withStored(report.Rest), "≤", fixed(80*mib), "")
	row("memory after one subscriber read all as JSON", human.Bytes, withStored(report.JSON), "≤", fixed(200*mib), "")
	row("one subscriber reads all (gRPC, protobuf), messages/s", human.Count, withStored(report.Reads), "≥", fixed(400_000), "")
	row("p99 of live subscribers, beside 8 readers ÷ without", human.Ratio, quotient(loadHistory, report.Beside, report.Alone), "≤", fixed(1.5), "")
	row("10,000 clients reconnect, cold ÷ hot", human.Ratio, quotient(loadReconnect, report.Cold, report.Hot), "≤", fixed(1.3), "")
	row("size of `simplechat`", human.Bytes, binarySize, "<", binarySize(cmp, then), "before: ")
	return all
}

// of returns the median of a figure.
func (cmp *comparison) of(load, system, figure string) report.Value {
	v, ok := cmp.Median(load, system, figure)
	return report.Value{Number: v, Known: ok}
}

// withStored returns a figure of the server with a long history on the disk.
func withStored(figure string) measured {
	return func(cmp *comparison, v version) report.Value { return cmp.of(loadHistory, v.always, figure) }
}

// overMemory returns the ratio of a figure to the same figure in memory.
func overMemory(load, figure string) measured {
	return func(cmp *comparison, v version) report.Value {
		disk, memory := cmp.of(load, v.always, figure), cmp.of(load, v.memory, figure)
		return report.Value{Number: disk.Number / memory.Number, Known: disk.Known && memory.Known}
	}
}

// aboveMemory returns the difference between a figure and the same figure in memory.
func aboveMemory(load, figure string) measured {
	return func(cmp *comparison, v version) report.Value {
		disk, memory := cmp.of(load, v.always, figure), cmp.of(load, v.memory, figure)
		return report.Value{Number: disk.Number - memory.Number, Known: disk.Known && memory.Known}
	}
}

// quotient returns a figure divided by another one of the same load.
func quotient(load, figure, by string) measured {
	return func(cmp *comparison, v version) report.Value {
		one, other := cmp.of(load, v.always, figure), cmp.of(load, v.always, by)
		return report.Value{Number: one.Number / other.Number, Known: one.Known && other.Known}
	}
}

func binarySize(cmp *comparison, v version) report.Value {
	info, err := os.Stat(cmp.server(v.always))
	if err != nil {
		return report.Value{} // it was not given
	}
	return fixed(float64(info.Size()))
}

func fixed(limit float64) report.Value { return report.Value{Number: limit, Known: true} }

// bareSyncs returns a multiple of the time for a bare write and its sync.
func (cmp *comparison) bareSyncs(factor float64) report.Value {
	median := bench.MedianTime(cmp.syncs)
	return report.Value{Number: factor * float64(median), Known: median > 0}
}
