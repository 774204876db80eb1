package main

import (
	"errors"
	"fmt"
	"time"
)

// Transports.
const (
	transportH2C   = "h2c"   // HTTP/2 without TLS, by prior knowledge
	transportHTTP1 = "http1" // HTTP/1.1 without TLS
	transportTLS   = "tls"   // HTTP/2 over TLS; the certificate is not checked
)

// defaultSlowRate is what slow readers take, in bytes a second.
const defaultSlowRate = 16 << 10

// defaultToggleTime is how long the windows of toggling clients stay closed, and then
// open.
const defaultToggleTime = 20 * time.Millisecond

// workload is what a run offers to a server.
type workload struct {
	Protocol    string        `json:"protocol"`
	Transport   string        `json:"transport"`
	Subscribers int           `json:"subscribers"`
	Connections int           `json:"connections"` // that the subscribers share
	Publishers  int           `json:"publishers"`  // connections for sending
	Window      int           `json:"window"`      // sends in flight on each of them
	Rate        float64       `json:"rate"`        // messages a second by all publishers, 0: the next when one is answered
	Size        int           `json:"size"`        // bytes of content
	Warmup      time.Duration `json:"warmup"`      // load that is not measured
	Duration    time.Duration `json:"duration"`    // load that is
	History     string        `json:"history"`     // where subscribers begin: "end", "all" or "replay"
	Stuck       int           `json:"stuck"`       // per cent of the subscribers that stop to read
	Slow        int           `json:"slow"`        // per cent that read slowRate bytes a second
	SlowRate    int           `json:"slowRate"`
	Toggling    int           `json:"toggling"`   // further subscribers, that close and reopen their windows
	ToggleTime  time.Duration `json:"toggleTime"` // for which these stay closed, and then open
}

// normalized sets what follows from the rest.
func (w workload) normalized() workload {
	if w.Connections == 0 || w.Connections > w.Subscribers || !w.multiplexes() {
		w.Connections = w.Subscribers
	}
	return w
}

// multiplexes reports whether connections can be shared.
func (w workload) multiplexes() bool {
	return w.Transport != transportHTTP1 && w.Protocol != protocolNATS && w.Protocol != protocolFloor
}

// check names what makes no sense.
func (w workload) check() error {
	switch {
	case w.Protocol == protocolGRPC && w.Transport == transportHTTP1:
		return errors.New("gRPC needs HTTP/2: choose --transport h2c or tls, or --protocol grpc-web")
	case w.Subscribers < 0, w.Publishers < 0, w.Connections < 0:
		return errors.New("--subscribers, --connections and --publishers must not be negative")
	case w.Window < 1:
		return errors.New("--window must be at least 1")
	case w.Publishers*w.Window > maxSlots:
		return fmt.Errorf("--publishers times --window is %d, at most %d can be told apart", w.Publishers*w.Window, maxSlots)
	case w.Rate < 0:
		return errors.New("--rate must not be negative")
	case w.Size < stampBytes:
		return fmt.Errorf("--size must be at least %d: number and time of the message stand there", stampBytes)
	case w.Duration <= 0 || w.Warmup < 0:
		return errors.New("--duration must be positive, --warmup not negative")
	case w.Stuck < 0 || w.Slow < 0 || w.Stuck+w.Slow > 100:
		return errors.New("--stuck and --slow are parts of 100")
	case w.SlowRate < 1:
		return errors.New("--slow-rate must be positive")
	case w.Toggling < 0 || w.ToggleTime <= 0:
		return errors.New("--toggling must not be negative, --toggle-time must be positive")
	case w.Toggling > 0 && !w.multiplexes():
		return errors.New("--toggling needs HTTP/2, which has windows: choose --transport h2c or tls, and a protocol over HTTP")
	}
	return nil
}

// kind tells how a subscriber reads.
type kind int

const (
	healthy  kind = iota
	slow          // at most slowRate bytes a second
	stuck         // nothing after its first batch
	toggling      // all, but closes and reopens its windows
)

// isLazy reports whether the kernel and flow control are to hold little for k.
func (k kind) isLazy() bool { return k == slow || k == stuck }

// line is the plan of one connection of subscribers. They are all of a kind:
// who is stuck stops its whole connection.
type line struct {
	kind    kind
	streams int
}

// lines shares the subscribers out to connections, the stuck and the slow to
// connections of their own, in proportion.
func (w workload) lines() []line {
	var all []line
	share := func(k kind, streams int) {
		if streams == 0 {
			return
		}
		connections := max(1, w.Connections*streams/w.Subscribers)
		for i := range connections {
			all = append(all, line{k, streams*(i+1)/connections - streams*i/connections})
		}
	}
	stuckOnes := w.Subscribers * w.Stuck / 100
	slowOnes := w.Subscribers * w.Slow / 100
	share(healthy, w.Subscribers-stuckOnes-slowOnes)
	share(slow, slowOnes)
	share(stuck, stuckOnes)
	for range w.Toggling {
		all = append(all, line{toggling, 1})
	}
	return all
}
