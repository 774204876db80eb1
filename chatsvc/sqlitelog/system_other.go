//go:build !linux

package sqlitelog

import "time"

// started stands for the boot, whose name the system does not tell.
var started = time.Now()

// realSystem returns this machine.
func realSystem() system {
	return system{
		boot:    func() string { return "" },
		wall:    time.Now,
		room:    tryRoom,
		sync:    syncData,
		elapsed: func() time.Duration { return time.Since(started) },
	}
}
