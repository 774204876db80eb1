package bench

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// Workload is the load that a run offers to a server.
type Workload struct {
	Protocol    string        `json:"protocol"`
	Transport   string        `json:"transport"`
	Subscribers int           `json:"subscribers"`
	Connections int           `json:"connections"` // that the subscribers share
	Publishers  int           `json:"publishers"`  // connections for sending
	Window      int           `json:"window"`      // sends in flight on each of them
	Rate        float64       `json:"rate"`        // messages a second by all publishers; 0: each is sent when one is answered
	Size        int           `json:"size"`        // bytes of content
	Warmup      time.Duration `json:"warmup"`      // load that is not measured
	Duration    time.Duration `json:"duration"`    // load that is measured
	History     string        `json:"history"`     // where subscribers begin: "end", "all" or "replay"
	Stuck       int           `json:"stuck"`       // per cent of the subscribers that stop reading
	Slow        int           `json:"slow"`        // per cent that read slowRate bytes a second
	SlowRate    int           `json:"slowRate"`
	Toggling    int           `json:"toggling"`   // further subscribers, that close and reopen their windows
	ToggleTime  time.Duration `json:"toggleTime"` // time for which these stay closed, and then open
}

// Normalized sets the fields that follow from the others.
func (w Workload) Normalized() Workload {
	if w.Connections == 0 || w.Connections > w.Subscribers || !wire.Multiplexes(w.Protocol, w.Transport) {
		w.Connections = w.Subscribers
	}
	return w
}

// Check returns an error that names a flag of "chatbench run" that is not valid.
func (w Workload) Check() error {
	switch {
	case w.Protocol == wire.GRPC && w.Transport == wire.HTTP1:
		return errors.New("gRPC needs HTTP/2: choose --transport h2c or tls, or --protocol grpc-web")
	case w.Subscribers < 0, w.Publishers < 0, w.Connections < 0:
		return errors.New("--subscribers, --connections and --publishers must not be negative")
	case w.Window < 1:
		return errors.New("--window must be at least 1")
	case w.Publishers*w.Window > maxSlots:
		return fmt.Errorf("--publishers times --window is %d, at most %d can be told apart", w.Publishers*w.Window, maxSlots)
	case w.Rate < 0:
		return errors.New("--rate must not be negative")
	case w.Size < StampBytes:
		return fmt.Errorf("--size must be at least %d: the content contains the number and the time of the message", StampBytes)
	case w.Duration <= 0 || w.Warmup < 0:
		return errors.New("--duration must be positive, --warmup not negative")
	case w.Stuck < 0 || w.Slow < 0 || w.Stuck+w.Slow > 100:
		return errors.New("--stuck and --slow are percentages: they must not be negative, and their sum must not exceed 100")
	case w.SlowRate < 1:
		return errors.New("--slow-rate must be positive")
	case w.Toggling < 0 || w.ToggleTime <= 0:
		return errors.New("--toggling must not be negative, --toggle-time must be positive")
	case w.Toggling > 0 && !wire.Multiplexes(w.Protocol, w.Transport):
		return errors.New("--toggling needs HTTP/2, which has windows: choose --transport h2c or tls, and a protocol over HTTP")
	}
	return nil
}

// String implements [fmt.Stringer].
func (w Workload) String() string {
	load := "closed loop"
	if w.Rate > 0 {
		load = strconv.FormatFloat(w.Rate, 'f', -1, 64) + "/s offered"
	}
	over := ""
	if wire.OverHTTP(w.Protocol) {
		over = " over " + w.Transport
	}
	return fmt.Sprintf("%s%s: %d subscribers on %d connections, %d publishers with %d in flight, %s, %d bytes",
		w.Protocol, over, w.Subscribers, w.Connections, w.Publishers, w.Window, load, w.Size)
}

// DefaultSlowRate is the rate of slow readers in bytes a second.
const DefaultSlowRate = 16 << 10

// DefaultToggleTime is how long the windows of toggling clients stay closed, and then
// open.
const DefaultToggleTime = 20 * time.Millisecond

// SmallContent is the size of a message of most loads in bytes.
const SmallContent = 100

// DefaultInFlight is the largest number of unanswered sends of a crowd.
const DefaultInFlight = 4 * 60

// Crowd is a workload of small messages to subscribers on own connections; a
// rate of 0 is a closed loop.
func Crowd(subscribers int, rate float64) Workload {
	return Workload{
		Transport: wire.H2C, Subscribers: subscribers, Publishers: 4, Window: 60, Rate: rate, Size: SmallContent,
		History: wire.HistoryEnd, SlowRate: DefaultSlowRate, ToggleTime: DefaultToggleTime,
	}
}

// Idle is a crowd without messages.
func Idle(subscribers int) Workload {
	w := Crowd(subscribers, 0)
	w.Publishers = 0
	return w
}

// Storing is the workload that stores a history as fast as the server takes it, on any
// free connection.
func Storing(size int) Workload {
	w := Crowd(0, math.Inf(1))
	w.Protocol, w.Size = wire.GRPC, size
	return w
}

// Reading is the workload of subscribers that read the whole history on shared
// connections.
func Reading(protocol string, subscribers, connections int) Workload {
	w := Idle(subscribers)
	w.Protocol, w.Connections, w.History = protocol, connections, wire.HistoryAll
	return w
}
