package report

import (
	"os"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
)

// Medians, ratios and goals.
func TestFigures(t *testing.T) {
	t.Parallel()
	const crowd = "1000x4000"
	c := &Comparison{
		Loads:   []Load{{Name: crowd, Title: "1,000 subscribers, 4,000/s", Figures: []string{Deliveries}}},
		Titles:  map[string]string{crowd: "1,000 subscribers, 4,000/s"},
		Systems: []string{"ours", "nats", "grpc"},
		Runs:    make(map[Key][]*bench.Result),
	}
	set := func(load, system string, values ...float64) {
		for _, v := range values {
			c.Runs[Key{load, system}] = append(c.Runs[Key{load, system}],
				&bench.Result{DeliveriesPerSecond: v, Server: &bench.Server{NanosPerDelivery: 1e6 / v}})
		}
	}
	set(crowd, "ours", 900, 100, 400)
	set(crowd, "grpc", 50, 200)
	for _, g := range []struct {
		goal           Goal
		text           string
		reached, known bool
	}{
		{Goal{Figure: Deliveries, Least: true, Factor: 3.2, System: "grpc"}, "≥ 3.2 × grpc", true, true},
		{Goal{Figure: Deliveries, Least: true, Factor: 3.3, System: "grpc"}, "≥ 3.3 × grpc", false, true},
		{Goal{Figure: Deliveries, Least: true, Limit: 401}, "≥ 401", false, true},
		{Goal{Figure: Deliveries, Limit: 401}, "≤ 401", true, true},
		{Goal{Figure: CPU, Factor: 0.2, System: "grpc"}, "≤ 0.2 × grpc", true, true},
		{Goal{Figure: CPU, Factor: 0.19, System: "grpc"}, "≤ 0.19 × grpc", false, true},
		{Goal{Figure: CPU, Factor: 1, Load: crowd}, "≤ 1 × that of 1,000 subscribers, 4,000/s", true, true},
		{Goal{Figure: CPU, Factor: 1, System: "nats"}, "≤ 1 × nats", false, false},
	} {
		if reached, known := c.reached(crowd, g.goal); reached != g.reached || known != g.known {
			t.Errorf("%s: reached %v, known %v", g.text, reached, known)
		}
		if text := c.text(g.goal); text != g.text {
			t.Errorf("the goal %q is written as %q", g.text, text)
		}
	}
	if row := c.Ratios(); !strings.Contains(row, "| 1,000 subscribers, 4,000/s | deliveries/s | 400 | | 3.2 |  |  |") {
		t.Errorf("table:\n%s", row)
	}
	if cell := c.cell(crowd, "ours", Deliveries); cell != "400 (100 – 900)" {
		t.Errorf("cell %q", cell)
	}
}

// A latency reaches the goal at its limit, and not beyond it.
func TestToggling(t *testing.T) {
	t.Parallel()
	c := &Comparison{
		Systems: []string{"ours"},
		Loads: []Load{{Name: "without"}, {Name: "with", Title: "5 subscribers", Goals: []Goal{
			{Figure: P50, Factor: 1.3, Load: "without"}, {Figure: P99, Factor: 1.3, Load: "without"},
		}}},
		Runs: map[Key][]*bench.Result{
			{"without", "ours"}: {{Latency: bench.Latency{P50: time.Millisecond, P99: 10 * time.Millisecond}}},
			{"with", "ours"}:    {{Latency: bench.Latency{P50: 1300 * time.Microsecond, P99: 13_100 * time.Microsecond}}},
		},
	}
	table := c.Toggling()
	for _, want := range []string{"| p50 | 1ms | 1.3ms | 1.3 | ≤ 1.3 | yes |", "| p99 | 10ms | 13.1ms | 1.31 | ≤ 1.3 | **no** |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not have %q:\n%s", want, table)
		}
	}
}

// README explains each figure of the reports.
func TestREADMENamesFigures(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	named := make(map[string]bool)
	for line := range strings.Lines(string(b)) {
		if cells := strings.Split(line, "|"); len(cells) > 1 {
			for name := range strings.FieldsFuncSeq(cells[1], func(r rune) bool { return r == ';' }) {
				for part := range strings.SplitSeq(name, ", ") {
					named[strings.TrimSpace(part)] = true
				}
				named[strings.TrimSpace(name)] = true
			}
		}
	}
	for name := range figures {
		if !named[name] {
			t.Errorf("README.md does not explain %q", name)
		}
	}
}
