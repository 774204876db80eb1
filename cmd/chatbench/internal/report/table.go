package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
)

// Table writes the result of a run for people: faults first.
func Table(w io.Writer, r *bench.Result) error {
	var b strings.Builder
	writeFaults(&b, r)
	tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tab, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("workload", "%s", r.Workload)
	row("measured", "%.1f s after %v of warm-up; all were subscribed in %v", r.Seconds, r.Workload.Warmup, human.Round(r.SubscribeTime))
	row("sends", "%s/s, %d in all%s", human.Count(r.SendsPerSecond), r.Sends, late(r))
	row("  latency", "%s", r.SendLatency)
	row("deliveries", "%s/s, %d in all, the last one %v after the last send", human.Count(r.DeliveriesPerSecond), r.Deliveries, human.Round(r.DrainTime))
	row("  latency", "%s", r.Latency)
	row("  batch", "%.1f messages", r.MessagesPerBatch)
	row("  received", "%s/s", human.Bytes(r.BytesPerSecond))
	if r.Foreign > 0 {
		row("  others'", "%d messages of history or of other senders", r.Foreign)
	}
	if n := r.Workload.Stuck + r.Workload.Slow; n > 0 {
		row("slow, stuck", "%d per cent of the subscribers; the server cut %d of the slow, the stuck do not look", n, r.Faults.Cut)
	}
	if n := r.Workload.Toggling; n > 0 {
		row("toggling", "%d further subscribers, windows closed and open for %v each; the server cut %d", n, r.Workload.ToggleTime, r.Faults.Cut)
	}
	if s := r.Server; s != nil {
		cost := human.Micros(s.NanosPerDelivery) + " of CPU per delivery, sends included"
		if r.Deliveries == 0 {
			cost = human.Micros(s.NanosPerSend) + " of CPU per send"
		}
		row("server", "%.2f cores; %s", s.Cores, cost)
		row("  memory", "%s at rest, %s with idle subscribers (%s each), peak %s", human.Bytes(float64(s.RestBytes)), human.Bytes(float64(s.IdleBytes)), human.Bytes(float64(s.BytesPerSubscriber)), human.Bytes(float64(s.PeakBytes)))
	}
	row("generator", "%.2f cores of %d", r.OwnCores, r.Machine.Cores)
	_ = tab.Flush() // to a builder
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFaults(b *strings.Builder, r *bench.Result) {
	f := r.Faults
	if f.Err() == nil {
		return
	}
	fmt.Fprintf(b, "FAULTS: %d deliveries lost (%d gaps), %d duplicates, %d out of order, %d streams ended, %d sends refused\n",
		f.Lost, f.Gaps, f.Duplicates, f.Reordered, f.Ended, f.Refused)
	if f.Cause != "" {
		fmt.Fprintf(b, "cause: %s\n", f.Cause)
	}
	b.WriteByte('\n')
}

// late returns a note if the offered rate was not kept.
func late(r *bench.Result) string {
	if r.LateSends == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them late by more than %v: the offered rate was not kept", r.LateSends, bench.LateBy)
}
