package sim

import (
	"strconv"
	"sync"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

// machine has the clocks of the machine with the database. It implements
// [fault.Machine].
type machine struct {
	mu     sync.Mutex // guards all below
	boots  int
	booted time.Time
	ahead  time.Duration // of the wall clock
}

var _ fault.Machine = (*machine)(nil)

func newMachine() *machine { return &machine{booted: time.Now()} }

// Boot implements [fault.Machine].
func (m *machine) Boot() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return "boot " + strconv.Itoa(m.boots)
}

// Elapsed implements [fault.Machine].
func (m *machine) Elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.booted)
}

// Wall implements [fault.Machine].
func (m *machine) Wall() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Now().Add(m.ahead)
}

// reboot begins another boot. A wall clock that was ahead is right then: while the machine
// is off the log trusts it, and would forget keys too early.
func (m *machine) reboot() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.boots++
	m.booted = time.Now()
	m.ahead = min(m.ahead, 0)
}

// set sets the wall clock forward or back.
func (m *machine) set(by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += by
}

// jump sets the wall clock of the database's machine.
func (w *world) jump(s step) {
	if w.disk == nil || w.disk.log == nil { // see reboot
		return
	}
	by := s.For
	if s.A%2 == 1 {
		by = -by
	}
	w.reached.add("disk: the wall clock jumps " + []string{"ahead", "back"}[s.A%2])
	w.disk.machine.set(by)
}
