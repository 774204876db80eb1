//go:build !linux

package sqlitelog

import "time"

// started is used instead of the time of the boot, which the system does not tell.
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
