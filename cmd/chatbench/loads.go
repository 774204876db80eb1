package main

import (
	"fmt"
	"strings"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/bench"
	"example.com/simplechat/cmd/chatbench/internal/human"
	"example.com/simplechat/cmd/chatbench/internal/report"
)

// load is a workload of the comparison.
type load struct {
	name     string
	workload bench.Workload
	settle   time.Duration // rest before memory is measured
	history  *history      // the history to store before the measurement, see scene
	disk     bool          // the disk is measured before and after each run
	systems  []string      // that it runs on
	figures  []string      // of the report, see figures
	goals    []report.Goal
}

// Names of loads that others refer to.
const (
	load1000 = "1000x1000"
	load200  = "1000x200"
)

// quickTime is the measured time of a run of a quick comparison.
const quickTime = 500 * time.Millisecond

// loads are the workloads, in the order of the report.
func loads() []load {
	all := systemNames
	chats := []string{ours, connectGo, grpcGo}
	times := []string{report.P50, report.P99, report.CPU}
	return []load{
		{name: "1000x4000", workload: bench.Crowd(1000, 4000), systems: all,
			figures: []string{report.Deliveries, report.CPU, report.P99},
			goals: []report.Goal{
				{Figure: report.Deliveries, Least: true, Factor: 3.5, System: grpcGo},
				{Figure: report.Deliveries, Least: true, Factor: 3, System: natsCore},
				{Figure: report.CPU, Factor: 1. / 5, System: grpcGo},
				{Figure: report.CPU, Factor: 1. / 4, System: natsCore},
			}},
		// 4,000/s cannot show more than twice the deliveries of core NATS, because the offered
		// rate is the limit.
		{name: "1000x8000", workload: bench.Crowd(1000, 8000), systems: []string{ours, grpcGo, natsCore},
			figures: []string{report.Deliveries, report.CPU, report.P99},
			goals: []report.Goal{
				{Figure: report.Deliveries, Least: true, Factor: 3, System: natsCore},
				{Figure: report.CPU, Factor: 1. / 4, System: natsCore},
			}},
		{name: load1000, workload: bench.Crowd(1000, 1000), systems: all,
			figures: []string{report.Sends, report.P50, report.P99, report.CPU},
			goals: []report.Goal{
				{Figure: report.Sends, Least: true, Limit: 990}, // the rate is kept, apart from the edges of the measurement
				{Figure: report.P99, Factor: 1. / 5, System: grpcGo},
			}},
		{name: load200, workload: bench.Crowd(1000, 200), systems: all, figures: times,
			goals: []report.Goal{{Figure: report.P99, Factor: 0.8, System: grpcGo}}},
		{name: "1000x20", workload: bench.Crowd(1000, 20), systems: all, figures: times,
			goals: []report.Goal{
				{Figure: report.P50, Factor: 1, System: grpcGo},
				{Figure: report.P99, Factor: 1, System: grpcGo},
				{Figure: report.CPU, Factor: 1.1, System: grpcGo},
			}},
		{name: "1x20", workload: bench.Crowd(1, 20), systems: all, figures: []string{report.P50, report.P99}, // its CPU time is below /proc's 10 ms
			goals: []report.Goal{{Figure: report.P50, Factor: 1.6, System: grpcGo}}},
		// As many deliveries a second are offered as with 1,000 × 1,000/s.
		{name: "10000x100", workload: bench.Crowd(10_000, 100), systems: chats,
			figures: []string{report.Deliveries, report.CPU, report.P99},
			goals:   []report.Goal{{Figure: report.CPU, Factor: 1.2, Load: load1000}}},
		{name: "idle", workload: bench.Idle(10_000), settle: 3 * time.Second,
			systems: []string{ours, connectGo, grpcGo, natsCore}, figures: []string{report.Idle},
			goals: []report.Goal{
				{Figure: report.Idle, Limit: 45 << 10},
				{Figure: report.Idle, Factor: 1, System: grpcGo},
			}},
		{name: "send", workload: bench.Crowd(0, 0), systems: chats,
			figures: []string{report.Sends, report.SendCPU, report.SendP99},
			goals:   []report.Goal{{Figure: report.Sends, Least: true, Factor: 1, System: connectGo}}},
		{name: "image", workload: images(500), systems: chats, figures: []string{report.Peak, report.P99},
			goals: []report.Goal{{Figure: report.Peak, Limit: 200 << 20}}},
		// A hub with channels waits for a stuck subscriber, so the peers would only show how
		// long they wait.
		{name: "stuck", workload: stuckCrowd(1000, 200), systems: []string{ours},
			figures: []string{report.P50, report.P99},
			goals:   []report.Goal{{Figure: report.P99, Factor: 1.5, Load: load200}}},
	}
}

func stuckCrowd(subscribers int, rate float64) bench.Workload {
	w := bench.Crowd(subscribers, rate)
	w.Stuck = 10
	return w
}

func images(subscribers int) bench.Workload {
	w := bench.Crowd(subscribers, 0.5)
	w.Size = 1 << 20
	return w
}

// title describes the load.
func (l load) title() string {
	w := l.workload
	if l.history != nil {
		return l.history.title()
	}
	var parts []string
	switch {
	case w.Subscribers == 0:
		parts = append(parts, "sends alone")
	case w.Publishers == 0:
		parts = append(parts, human.Thousands(w.Subscribers)+" idle subscribers")
	case w.Subscribers == 1:
		parts = append(parts, "1 subscriber")
	default:
		parts = append(parts, human.Thousands(w.Subscribers)+" subscribers")
	}
	if w.Publishers > 0 && (w.Rate == 0 || w.Publishers*w.Window != bench.DefaultInFlight) {
		parts = append(parts, fmt.Sprintf("%d × %d in flight", w.Publishers, w.Window))
	}
	if w.Rate > 0 && w.Rate < 1 {
		parts = append(parts, fmt.Sprintf("one every %v", time.Duration(float64(time.Second)/w.Rate)))
	} else if w.Rate > 0 {
		parts = append(parts, human.Thousands(int(w.Rate))+"/s")
	}
	if w.Size != bench.SmallContent {
		parts = append(parts, human.Bytes(float64(w.Size)))
	}
	if w.Toggling > 0 {
		parts = append(parts, human.Thousands(w.Toggling)+" toggling")
	}
	if w.Stuck > 0 {
		parts = append(parts, fmt.Sprintf("%d %% stuck", w.Stuck))
	}
	return strings.Join(parts, ", ")
}

// shrunk returns a small version of the load for a quick run.
func (l load) shrunk() load {
	const few, slowly, small, short = 10, 50, 64 << 10, 500
	if l.history != nil {
		h := *l.history
		h.messages = min(h.messages, short)
		l.history = &h
	}
	w := &l.workload
	w.Subscribers, w.Toggling = min(w.Subscribers, few), min(w.Toggling, few)
	w.Size = min(w.Size, small)
	if w.Rate > 0 {
		w.Rate = max(10, min(w.Rate, slowly))
	}
	l.settle = min(l.settle, quickTime)
	return l
}

func loadNames(all []load) string {
	names := make([]string, len(all))
	for i, l := range all {
		names[i] = l.name
	}
	return strings.Join(names, ", ")
}
