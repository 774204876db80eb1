package sqlitelog

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// realSystem returns this machine.
func realSystem() system {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // random(4)
	boot := strings.TrimSpace(string(id))
	if err != nil {
		boot = ""
	}
	return system{boot: func() string { return boot }, wall: time.Now, elapsed: elapsed, room: tryRoom, sync: syncData}
}

// elapsed returns CLOCK_BOOTTIME, which also advances while the machine is suspended
// (clock_gettime(2)).
func elapsed() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

// started is used instead of the time of the boot if the system does not tell it.
var started = time.Now()
