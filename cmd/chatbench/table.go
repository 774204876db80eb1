package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// writeTable writes a result for people: faults first.
func writeTable(w io.Writer, r *result) error {
	var b strings.Builder
	writeFaults(&b, r)
	tab := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tab, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	row("workload", "%s", r.Workload)
	row("measured", "%.1f s after %v of warm-up; all were subscribed in %v", r.Seconds, r.Workload.Warmup, round(r.SubscribeTime))
	row("sends", "%s/s, %d in all%s", humanCount(r.SendsPerSecond), r.Sends, r.late())
	row("  latency", "%s", r.SendLatency)
	row("deliveries", "%s/s, %d in all, the last one %v after the last send", humanCount(r.DeliveriesPerSecond), r.Deliveries, round(r.DrainTime))
	row("  latency", "%s", r.Latency)
	row("  batch", "%.1f messages", r.MessagesPerBatch)
	row("  received", "%s/s", humanBytes(r.BytesPerSecond))
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
		cost := micros(s.NanosPerDelivery) + " of CPU per delivery, sends included"
		if r.Deliveries == 0 {
			cost = micros(s.NanosPerSend) + " of CPU per send"
		}
		row("server", "%.2f cores; %s", s.Cores, cost)
		row("  memory", "%s at rest, %s with idle subscribers (%s each), peak %s", humanBytes(float64(s.RestBytes)), humanBytes(float64(s.IdleBytes)), humanBytes(float64(s.BytesPerSubscriber)), humanBytes(float64(s.PeakBytes)))
	}
	row("generator", "%.2f cores of %d", r.OwnCores, r.Machine.Cores)
	_ = tab.Flush() // to a builder
	_, err := io.WriteString(w, b.String())
	return err
}

func writeFaults(b *strings.Builder, r *result) {
	f := r.Faults
	if f.err() == nil {
		return
	}
	fmt.Fprintf(b, "FAULTS: %d deliveries lost (%d gaps), %d duplicates, %d out of order, %d streams ended, %d sends refused\n",
		f.Lost, f.Gaps, f.Duplicates, f.Reordered, f.Ended, f.Refused)
	if f.Cause != "" {
		fmt.Fprintf(b, "cause: %s\n", f.Cause)
	}
	b.WriteByte('\n')
}

// String implements [fmt.Stringer].
func (w workload) String() string {
	load := "closed loop"
	if w.Rate > 0 {
		load = strconv.FormatFloat(w.Rate, 'f', -1, 64) + "/s offered"
	}
	over := ""
	if _, ok := dialects[w.Protocol]; ok {
		over = " over " + w.Transport
	}
	return fmt.Sprintf("%s%s: %d subscribers on %d connections, %d publishers with %d in flight, %s, %d bytes",
		w.Protocol, over, w.Subscribers, w.Connections, w.Publishers, w.Window, load, w.Size)
}

// late says whether the offered rate was kept.
func (r *result) late() string {
	if r.LateSends == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of them late by more than %v: the offered rate was not kept", r.LateSends, lateBy)
}

// String implements [fmt.Stringer].
func (l latency) String() string {
	if l.Count == 0 {
		return "-"
	}
	return fmt.Sprintf("p50 %v, p90 %v, p99 %v, p99.9 %v, max %v", round(l.P50), round(l.P90), round(l.P99), round(l.P999), round(l.Max))
}

// round leaves three digits or so.
func round(d time.Duration) time.Duration {
	unit := time.Nanosecond
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// micros is a time in ns as µs.
func micros(ns float64) string { return strconv.FormatFloat(ns/1000, 'f', 2, 64) + " µs" }

// humanCount is a number with three digits or so.
func humanCount(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 2, 64) + " M"
	case n >= 1e4:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + " k"
	default:
		return strconv.FormatFloat(n, 'f', 0, 64)
	}
}

// humanBytes is a size.
func humanBytes(n float64) string {
	for _, unit := range []string{"B", "KiB", "MiB"} {
		if n < 1024 {
			return strconv.FormatFloat(n, 'f', 1, 64) + " " + unit
		}
		n /= 1024
	}
	return strconv.FormatFloat(n, 'f', 1, 64) + " GiB"
}
