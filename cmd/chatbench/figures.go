package main

import (
	"slices"
	"time"
)

// Figures of the report.
const (
	figDeliveries = "deliveries/s"
	figCPU        = "CPU per delivery"
	figP50        = "p50"
	figP99        = "p99"
	figSends      = "sends/s"
	figSendCPU    = "CPU per send"
	figSendP99    = "send p99"
	figSendP999   = "send p99.9"
	figSendMax    = "send max"
	figIdle       = "memory per idle subscriber"
	figPeak       = "peak memory above rest"
	figSendP50    = "send p50"
	figKilled     = "first message after SIGKILL"
	figStopped    = "first message after a stop"
	figRest       = "memory at rest"
	figJSON       = "memory after reading as JSON"
	figReads      = "messages/s to one subscriber"
	figAlone      = "p99 without readers"
	figBeside     = "p99 beside readers"
	figHot        = "reconnected, hot"
	figCold       = "reconnected, cold"
)

// figure is a number of a result.
type figure struct {
	of    func(*result) float64
	human func(float64) string
}

var figures = map[string]figure{
	figDeliveries: {func(r *result) float64 { return r.DeliveriesPerSecond }, humanCount},
	figCPU:        {func(r *result) float64 { return r.Server.NanosPerDelivery }, micros},
	figP50:        {func(r *result) float64 { return float64(r.Latency.P50) }, humanTime},
	figP99:        {func(r *result) float64 { return float64(r.Latency.P99) }, humanTime},
	figSends:      {func(r *result) float64 { return r.SendsPerSecond }, humanCount},
	figSendCPU:    {func(r *result) float64 { return r.Server.NanosPerSend }, micros},
	figSendP99:    {func(r *result) float64 { return float64(r.SendLatency.P99) }, humanTime},
	figSendP999:   {func(r *result) float64 { return float64(r.SendLatency.P999) }, humanTime},
	figSendMax:    {func(r *result) float64 { return float64(r.SendLatency.Max) }, humanTime},
	figIdle:       {func(r *result) float64 { return float64(r.Server.BytesPerSubscriber) }, humanBytes},
	figPeak:       {func(r *result) float64 { return float64(r.Server.PeakBytes - r.Server.RestBytes) }, humanBytes},
	figSendP50:    {func(r *result) float64 { return float64(r.SendLatency.P50) }, humanTime},
	figKilled:     {func(r *result) float64 { return float64(r.history.afterKill) }, humanTime},
	figStopped:    {func(r *result) float64 { return float64(r.history.afterStop) }, humanTime},
	figRest:       {func(r *result) float64 { return float64(r.history.restBytes) }, humanBytes},
	figJSON:       {func(r *result) float64 { return float64(r.history.jsonBytes) }, humanBytes},
	figReads:      {func(r *result) float64 { return r.history.readsPerSecond }, humanCount},
	figAlone:      {func(r *result) float64 { return float64(r.history.alone) }, humanTime},
	figBeside:     {func(r *result) float64 { return float64(r.history.beside) }, humanTime},
	figHot:        {func(r *result) float64 { return float64(r.history.hot) }, humanTime},
	figCold:       {func(r *result) float64 { return float64(r.history.cold) }, humanTime},
}

func humanTime(ns float64) string { return round(time.Duration(ns)).String() }

// values returns a figure of all rounds, in order of size. A run that failed before
// it had the figure has none.
func (cmp *comparison) values(load, system, name string) []float64 {
	var all []float64
	for _, r := range cmp.runs[runKey{load, system}] {
		if v := figures[name].of(r); v != 0 {
			all = append(all, v)
		}
	}
	slices.Sort(all)
	return all
}

// median returns the middle one of a figure's values, and whether there is one.
func (cmp *comparison) median(load, system, name string) (float64, bool) {
	all := cmp.values(load, system, name)
	if len(all) == 0 {
		return 0, false
	}
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return all[middle], true
	}
	return (all[middle-1] + all[middle]) / 2, true
}

// reference returns what the goal of a load is measured against, and whether
// that was measured.
func (cmp *comparison) reference(load string, g goal) (float64, bool) {
	switch {
	case g.system != "":
		v, ok := cmp.median(load, g.system, g.figure)
		return g.factor * v, ok
	case g.load != "":
		v, ok := cmp.median(g.load, cmp.systems[0], g.figure)
		return g.factor * v, ok
	default:
		return g.limit, true
	}
}

// reached reports whether the first system reached a goal, and whether that is known.
func (cmp *comparison) reached(load string, g goal) (reached, known bool) {
	v, ok := cmp.median(load, cmp.systems[0], g.figure)
	reference, ok2 := cmp.reference(load, g)
	if !ok || !ok2 {
		return false, false
	}
	if g.least {
		return v >= reference, true
	}
	return v <= reference, true
}
