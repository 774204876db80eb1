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

// elapsed returns CLOCK_BOOTTIME, which counts also while the machine is suspended
// (clock_gettime(2)).
func elapsed() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return time.Since(started)
	}
	return time.Duration(t.Nano())
}

// started stands for the boot where the system does not tell.
var started = time.Now()
