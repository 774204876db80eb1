package bench

import (
	"math"
	"time"

	"example.com/simplechat/cmd/chatbench/internal/wire"
)

// DefaultSlowRate is what slow readers take, in bytes a second.
const DefaultSlowRate = 16 << 10

// DefaultToggleTime is how long the windows of toggling clients stay closed, and then
// open.
const DefaultToggleTime = 20 * time.Millisecond

// SmallContent is the size of a message of most loads in bytes.
const SmallContent = 100

// DefaultInFlight is how many sends of a crowd wait for their answers at most.
const DefaultInFlight = 4 * 60

// Crowd is a workload of small messages to subscribers on own connections; a
// rate of 0 is a closed loop.
func Crowd(subscribers int, rate float64) Workload {
	return Workload{
		Transport: wire.H2C, Subscribers: subscribers, Publishers: 4, Window: 60, Rate: rate, Size: SmallContent,
		History: wire.HistoryEnd, SlowRate: DefaultSlowRate, ToggleTime: DefaultToggleTime,
	}
}

// Idle is a crowd that is sent nothing.
func Idle(subscribers int) Workload {
	w := Crowd(subscribers, 0)
	w.Publishers = 0
	return w
}

// Storing is the workload that stores a history: as fast as the server takes it,
// on whichever connection is free.
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
