package sqlitelog

import (
	"os"
	"time"
)

// clock is the log's time in Unix milliseconds. It advances with the system's
// monotonic clock, so setting the wall clock does not change it, and keys and messages
// are not dropped too early or kept too long. While the machine is off, it advances with
// the wall clock. It never goes back.
type clock struct {
	base    int64         // log time at the start
	begun   time.Duration // the monotonic clock then
	elapsed func() time.Duration
}

// clockReading is the log's time at one moment, with the monotonic clock of that boot.
type clockReading struct {
	Boot string `json:"boot"` // of the machine; empty where that is not known
	Mono int64  `json:"mono"` // the monotonic clock in milliseconds
	Time int64  `json:"time"` // the log's time in Unix milliseconds
}

// newClock returns a clock that continues after the last reading. After another boot of
// the machine it starts at the wall clock. It is never before floor, the time of the last
// record.
func newClock(sys system, last clockReading, floor int64) *clock {
	c := &clock{begun: sys.elapsed(), elapsed: sys.elapsed}
	if boot := sys.boot(); boot != "" && boot == last.Boot {
		c.base = last.Time + max(c.begun.Milliseconds()-last.Mono, 0)
	} else {
		c.base = sys.wall().UnixMilli()
	}
	c.base = max(c.base, floor, last.Time)
	return c
}

// now returns the log's time.
func (c *clock) now() int64 { return c.base + (c.elapsed() - c.begun).Milliseconds() }

// reading returns the present moment.
func (c *clock) reading(boot string) clockReading {
	mono := c.elapsed()
	return clockReading{Boot: boot, Mono: mono.Milliseconds(), Time: c.base + (mono - c.begun).Milliseconds()}
}

// system is the log's interface to the machine. Tests replace it.
type system struct {
	boot    func() string        // identifies the boot of the operating system; empty if it is not known
	elapsed func() time.Duration // the monotonic clock, which does not stop while the machine sleeps
	wall    func() time.Time
	room    func(dir string, offset int64) error // why a file cannot grow beyond offset; nil if it can
	sync    func(f *os.File) error               // writes a file's content to the disk
}
