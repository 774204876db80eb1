// Package fault names points in the code at which the order of goroutines matters, so
// that a simulation can choose the order. Without a simulation, a point costs one load of
// a pointer. It also lets a simulation replace the machine's clocks.
package fault

import (
	"sync/atomic"
	"time"
)

// Point is a point in the code. Its name describes the state there.
type Point string

// The points, in the order of a message's path. The code holds no lock at any of them.
const (
	Committed  Point = "a transaction is committed, and not on the disk"
	Synced     Point = "a transaction is on the disk, and its senders do not know"
	Appended   Point = "the log has stored, and the sender does not know"
	Following  Point = "the service is about to follow the log"
	Publishing Point = "a record has come from the log, and the broker does not have it"
	Opened     Point = "a subscriber has its place, and has not been told"
	Reading    Point = "a subscriber is about to read"
	Waiting    Point = "a subscriber has read all, and is about to wait"
	GoingCold  Point = "a subscriber needs the log, and has not asked the cache"
	ColdRead   Point = "the log was read, and the cache does not have it"
	Writing    Point = "a batch is about to be written"
	Written    Point = "a batch was written"
	Replacing  Point = "the log has another epoch, and streams do not know"
	Closing    Point = "sends have ended, and streams do not know of the shutdown"
)

// Points returns all of them.
func Points() []Point {
	return []Point{Committed, Synced, Appended, Following, Publishing, Opened, Reading, Waiting, GoingCold, ColdRead, Writing, Written, Replacing, Closing}
}

var hook atomic.Pointer[func(Point)]

// At calls the hook, if one is set. The caller must hold no lock, because the hook may
// wait.
func At(p Point) {
	if h := hook.Load(); h != nil {
		(*h)(p)
	}
}

// Set sets the function that [At] calls in the whole process; nil removes it. Only
// simulations use it.
func Set(h func(Point)) {
	if h == nil {
		hook.Store(nil)
		return
	}
	hook.Store(&h)
}

// Machine tells the time on a simulated machine. Its methods may be called concurrently.
type Machine interface {
	// Boot identifies the boot of the machine.
	Boot() string
	// Elapsed is the monotonic clock of that boot.
	Elapsed() time.Duration
	// Wall is the wall clock, which may be set at any time.
	Wall() time.Time
}

var machine atomic.Pointer[Machine]

// SetMachine sets the machine of the logs that are opened from now on; nil is the real
// one. Only simulations use it.
func SetMachine(m Machine) {
	if m == nil {
		machine.Store(nil)
		return
	}
	machine.Store(&m)
}

// Simulated returns the machine that is set, or nil.
func Simulated() Machine {
	if m := machine.Load(); m != nil {
		return *m
	}
	return nil
}
