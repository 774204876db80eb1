package main

import (
	"time"

	"golang.org/x/net/http2"
)

// toggle closes the windows of all streams, and opens them at once, until ended
// is closed or the connection fails: as a client does that does not return the
// windows that it has used for a while.
func (c *h2Conn) toggle(every time.Duration, ended <-chan struct{}) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for window := uint32(0); ; window ^= hugeWindow {
		select {
		case <-tick.C:
		case <-ended:
			return
		}
		if c.setWindow(window) != nil {
			return // its reader says why
		}
	}
}

func (c *h2Conn) setWindow(size uint32) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.writer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: size})
	return c.out.Flush()
}
