package sqlitelog

import (
	"os"
	"time"
)

// clock is the log's time in Unix milliseconds. It advances with the system's
// monotonic clock, so a step of the wall clock does not move it: keys and messages
// are neither dropped early nor kept long. While the machine is off, it advances as
// the wall clock does, and never goes back.
type clock struct {
	base    int64         // log time at the start
	begun   time.Duration // the monotonic clock then
	elapsed func() time.Duration
}

// clockMark is the log's time at a moment of the monotonic clock of one boot.
type clockMark struct {
	Boot string `json:"boot"` // of the machine; empty where that is not known
	Mono int64  `json:"mono"` // the monotonic clock in milliseconds
	Time int64  `json:"time"` // the log's time in Unix milliseconds
}

// newClock returns a clock that continues where mark was, or at the wall clock after
// another boot of the machine, and not before floor, the time of the last record.
func newClock(sys system, mark clockMark, floor int64) *clock {
	c := &clock{begun: sys.elapsed(), elapsed: sys.elapsed}
	if boot := sys.boot(); boot != "" && boot == mark.Boot {
		c.base = mark.Time + max(c.begun.Milliseconds()-mark.Mono, 0)
	} else {
		c.base = sys.wall().UnixMilli()
	}
	c.base = max(c.base, floor, mark.Time)
	return c
}

// now returns the log's time.
func (c *clock) now() int64 { return c.base + (c.elapsed() - c.begun).Milliseconds() }

// mark returns the present moment.
func (c *clock) mark(boot string) clockMark {
	mono := c.elapsed()
	return clockMark{Boot: boot, Mono: mono.Milliseconds(), Time: c.base + (mono - c.begun).Milliseconds()}
}

// system is what the log asks the machine; tests have one of their own.
type system struct {
	boot    func() string        // names the run of the operating system; empty where it is not known
	elapsed func() time.Duration // of the monotonic clock, which does not stop while the machine sleeps
	wall    func() time.Time
	room    func(dir string, offset int64) error // why nothing more can be written, nil if it can
	sync    func(f *os.File) error               // writes a file's content to the disk
}
