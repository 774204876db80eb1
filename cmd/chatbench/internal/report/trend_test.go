package report

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/simplechat/cmd/chatbench/internal/human"
)

func newTrend(settled float64, values ...float64) *Trend {
	t := &Trend{Name: "memory", Human: human.Count, Unit: "MiB", Scale: 1 << 20, Settled: settled, Values: values}
	for i := range values {
		t.Hours = append(t.Hours, float64(i))
	}
	return t
}

// The line and its error are those of the textbook, and show growth.
func TestFit(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name        string
		trend       *Trend
		slope, fail float64
		flat        bool
	}{
		{"exact", newTrend(0, 1, 3, 5, 7), 2, 0, false},
		{"level", newTrend(0, 5, 5, 5, 5), 0, 0, true},
		{"falls", newTrend(0, 7, 5, 3, 1), -2, 0, true},
		{"noise", newTrend(0, 100, 110, 90, 105), -0.5, 4.663689526544408, true},
		{"grows slowly", newTrend(0, 1000, 1001, 1002), 1, 0, true},
		{"settles first", newTrend(2, 0, 50, 100, 100, 100), 0, 0, true},
		{"too few", newTrend(2, 0, 50, 100, 200), 0, 0, true},
	} {
		if got := test.trend.Fit(); math.Abs(got.PerHour-test.slope) > 1e-9 || math.Abs(got.Error-test.fail) > 1e-9 || got.Flat() != test.flat {
			t.Errorf("%s: %+v, flat: %v", test.name, got, got.Flat())
		}
	}
}

func TestTrends(t *testing.T) {
	t.Parallel()
	all := []*Trend{newTrend(0, 1, 3, 5, 7), newTrend(0, 100, 110, 90, 105)}
	if got := Trends(all); !strings.Contains(got, "| memory | 4 | +2 | ± 0 | **no** |\n") || !strings.Contains(got, "| -0") {
		t.Error(got)
	}
	file := filepath.Join(t.TempDir(), "trend.svg")
	if err := PlotTrends(file, all); err != nil {
		t.Fatal(err)
	}
	if svg, err := os.ReadFile(file); err != nil || strings.Count(string(svg), ">fitted<") != 2 || strings.Contains(string(svg), "NaN") {
		t.Errorf("%s, %v", svg, err)
	}
}
