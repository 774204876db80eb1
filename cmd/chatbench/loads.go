package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// load is a workload of the comparison.
type load struct {
	name     string
	workload workload
	settle   time.Duration // rest before memory is measured
	history  *history      // is stored before the workload is measured, see scene
	disk     bool          // the disk is measured before and after each run
	systems  []string      // that it runs on
	figures  []string      // of the report, see figures
	goals    []goal
}

// goal is a figure to reach.
type goal struct {
	figure string
	least  bool    // at least that much; else at most
	factor float64 // of the reference
	system string  // the reference is this system under the same load,
	load   string  // or the system itself under this load,
	limit  float64 // or a number
}

// Names of loads that others refer to.
const (
	load1000 = "1000x1000"
	load200  = "1000x200"
)

// smallContent is the size of a message of most loads in bytes.
const smallContent = 100

// quickTime is the measured time of a run of a quick comparison.
const quickTime = 500 * time.Millisecond

// loads are the workloads, in the order of the report.
func loads() []load {
	all := systemNames
	chats := []string{ours, connectGo, grpcGo}
	times := []string{figP50, figP99, figCPU}
	return []load{
		{name: "1000x4000", workload: crowd(1000, 4000), systems: all,
			figures: []string{figDeliveries, figCPU, figP99},
			goals: []goal{
				{figure: figDeliveries, least: true, factor: 3.5, system: grpcGo},
				{figure: figDeliveries, least: true, factor: 3, system: natsCore},
				{figure: figCPU, factor: 1. / 5, system: grpcGo},
				{figure: figCPU, factor: 1. / 4, system: natsCore},
			}},
		// 4,000/s do not show more than twice what core NATS delivers: it is the
		// offered rate that ends there.
		{name: "1000x8000", workload: crowd(1000, 8000), systems: []string{ours, grpcGo, natsCore},
			figures: []string{figDeliveries, figCPU, figP99},
			goals: []goal{
				{figure: figDeliveries, least: true, factor: 3, system: natsCore},
				{figure: figCPU, factor: 1. / 4, system: natsCore},
			}},
		{name: load1000, workload: crowd(1000, 1000), systems: all,
			figures: []string{figSends, figP50, figP99, figCPU},
			goals: []goal{
				{figure: figSends, least: true, limit: 990}, // kept, but for the edges of the measurement
				{figure: figP99, factor: 1. / 5, system: grpcGo},
			}},
		{name: load200, workload: crowd(1000, 200), systems: all, figures: times,
			goals: []goal{{figure: figP99, factor: 0.8, system: grpcGo}}},
		{name: "1000x20", workload: crowd(1000, 20), systems: all, figures: times,
			goals: []goal{
				{figure: figP50, factor: 1, system: grpcGo},
				{figure: figP99, factor: 1, system: grpcGo},
				{figure: figCPU, factor: 1.1, system: grpcGo},
			}},
		{name: "1x20", workload: crowd(1, 20), systems: all, figures: []string{figP50, figP99}, // its CPU time is below /proc's 10 ms
			goals: []goal{{figure: figP50, factor: 1.6, system: grpcGo}}},
		// As many deliveries a second are offered as with 1,000 × 1,000/s.
		{name: "10000x100", workload: crowd(10_000, 100), systems: chats,
			figures: []string{figDeliveries, figCPU, figP99},
			goals:   []goal{{figure: figCPU, factor: 1.2, load: load1000}}},
		{name: "idle", workload: idleCrowd(10_000), settle: 3 * time.Second,
			systems: []string{ours, connectGo, grpcGo, natsCore}, figures: []string{figIdle},
			goals: []goal{
				{figure: figIdle, limit: 45 << 10},
				{figure: figIdle, factor: 1, system: grpcGo},
			}},
		{name: "send", workload: crowd(0, 0), systems: chats,
			figures: []string{figSends, figSendCPU, figSendP99},
			goals:   []goal{{figure: figSends, least: true, factor: 1, system: connectGo}}},
		{name: "image", workload: images(500), systems: chats, figures: []string{figPeak, figP99},
			goals: []goal{{figure: figPeak, limit: 200 << 20}}},
		// A hub with channels waits for a stuck subscriber, so peers would show
		// nothing but their patience.
		{name: "stuck", workload: stuckCrowd(1000, 200), systems: []string{ours},
			figures: []string{figP50, figP99},
			goals:   []goal{{figure: figP99, factor: 1.5, load: load200}}},
	}
}

// defaultInFlight is how many sends of a crowd wait for their answers at most.
const defaultInFlight = 4 * 60

// crowd is a workload of small messages to subscribers on own connections; a
// rate of 0 is a closed loop.
func crowd(subscribers int, rate float64) workload {
	return workload{
		Transport: transportH2C, Subscribers: subscribers, Publishers: 4, Window: 60, Rate: rate, Size: smallContent,
		History: historyEnd, SlowRate: defaultSlowRate, ToggleTime: defaultToggleTime,
	}
}

func idleCrowd(subscribers int) workload {
	w := crowd(subscribers, 0)
	w.Publishers = 0
	return w
}

func stuckCrowd(subscribers int, rate float64) workload {
	w := crowd(subscribers, rate)
	w.Stuck = 10
	return w
}

func images(subscribers int) workload {
	w := crowd(subscribers, 0.5)
	w.Size = 1 << 20
	return w
}

// title says what the load is.
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
		parts = append(parts, thousands(w.Subscribers)+" idle subscribers")
	case w.Subscribers == 1:
		parts = append(parts, "1 subscriber")
	default:
		parts = append(parts, thousands(w.Subscribers)+" subscribers")
	}
	if w.Publishers > 0 && (w.Rate == 0 || w.Publishers*w.Window != defaultInFlight) {
		parts = append(parts, fmt.Sprintf("%d × %d in flight", w.Publishers, w.Window))
	}
	if w.Rate > 0 && w.Rate < 1 {
		parts = append(parts, fmt.Sprintf("one every %v", time.Duration(float64(time.Second)/w.Rate)))
	} else if w.Rate > 0 {
		parts = append(parts, thousands(int(w.Rate))+"/s")
	}
	if w.Size != smallContent {
		parts = append(parts, humanBytes(float64(w.Size)))
	}
	if w.Toggling > 0 {
		parts = append(parts, thousands(w.Toggling)+" toggling")
	}
	if w.Stuck > 0 {
		parts = append(parts, fmt.Sprintf("%d %% stuck", w.Stuck))
	}
	return strings.Join(parts, ", ")
}

// loadTitle is the title of the load with that name.
func loadTitle(name string) string {
	for _, l := range loads() {
		if l.name == name {
			return l.title()
		}
	}
	return name
}

// thousands is a number with commas.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%s,%03d", thousands(n/1000), n%1000)
}

// shrunk is a load that takes no time.
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
