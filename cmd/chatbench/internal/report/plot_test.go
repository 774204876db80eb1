package report

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// labels returns the labels of an axis.
func labels(a axis) []string {
	var all []string
	for _, t := range a.ticks {
		all = append(all, t.label)
	}
	return all
}

// Each axis holds its values, and has round labels.
func TestAxes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		axis   axis
		want   []string
		value  float64
		placed float64
	}{
		{"decades", decades(0.2, 90), []string{"0.1", "1", "10", "100"}, 10, 2. / 3},
		{"at their ends", decades(1, 1000), []string{"1", "10", "100", "1000"}, 1000, 1},
		{"of one value", decades(10, 10), []string{"10", "100"}, 10, 0},
		{"linear", linear(208_000, human.Count), []string{"0", "50.0 k", "100.0 k", "150.0 k", "200.0 k", "250.0 k"}, 125_000, 0.5},
		{"linear, ended by a tick", linear(4, human.Count), []string{"0", "1", "2", "3", "4"}, 4, 1},
		{"linear, of nothing", linear(0, human.Ratio), []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}, 0, 0},
	} {
		if got := labels(c.axis); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", c.name, got)
		}
		if got := c.axis.part(c.value); got < c.placed-1e-9 || got > c.placed+1e-9 {
			t.Errorf("%s: %v is at %v of the axis", c.name, c.value, got)
		}
	}
}

// A run is drawn by percentile and over time, a comparison by workload.
func TestPlots(t *testing.T) {
	t.Parallel()
	times := hdrhistogram.New(1, 1e9, 3)
	for i := range int64(200) {
		_ = times.RecordValue(1e6 * (1 + i))
	}
	none := hdrhistogram.New(1, 1e9, 3)
	run := &bench.Result{
		Workload: bench.Crowd(2, 3), DeliveryTimes: times, SendTimes: none,
		Deliveries: 9, Series: []bench.Sample{{At: 1, Deliveries: 10}, {At: 2, Deliveries: 20}},
	}
	c := &Comparison{
		Systems: []string{"a<b", "other"}, Loads: []Load{{Name: "x", Title: "1,000 subscribers, 20/s", Figures: []string{P99}}},
		Runs: map[Key][]*bench.Result{{"x", "a<b"}: {{Latency: bench.Latency{P99: 20e6}}}},
	}
	for name, draw := range map[string]struct {
		draw   func(string) error
		want   []string
		absent string
	}{
		"run":        {func(file string) error { return PlotRun(file, run) }, []string{">deliveries<", ">99<", "latency in ms", ">20<"}, ">sends<"},
		"comparison": {c.Plot, []string{">a&lt;b<", ">subscribers,<", ">100<"}, ">other<"},
	} {
		file := filepath.Join(t.TempDir(), "plot.svg")
		if err := draw.draw(file); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range draw.want {
			if !strings.Contains(string(b), want) {
				t.Errorf("%s: the plot does not have %s:\n%s", name, want, b)
			}
		}
		for _, unwanted := range []string{draw.absent, "NaN", "Inf"} {
			if strings.Contains(string(b), unwanted) {
				t.Errorf("%s: the plot has %s:\n%s", name, unwanted, b)
			}
		}
	}
}
