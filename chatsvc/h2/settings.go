package h2

import "golang.org/x/net/http2"

// onSettings applies the client's settings (section 6.5).
func (c *conn) onSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		if c.acked { // of settings that were never sent
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		c.acked = true
		return nil
	}
	if f.NumSettings() > maxSettings {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.peerWindow
	err := f.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingMaxFrameSize:
			c.peerFrame = min(int(setting.Val), maxWriteFrame)
		case http2.SettingInitialWindowSize:
			window = int64(setting.Val)
		default: // the server uses no push, priorities or dynamic table, and its header blocks are small
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.onWindowSize(window); err != nil {
		return err
	}
	c.out.push(appendSettingsAck(c.out.pop()))
	return c.answer()
}

// onWindowSize applies a new initial window to all streams (section 6.9.2): once for
// each frame, even if the frame has several values. The caller holds mu.
func (c *conn) onWindowSize(size int64) error {
	more := size - c.peerWindow
	if more == 0 {
		return nil
	}
	c.peerWindow = size
	for _, s := range c.streams {
		if s.window += more; s.window > maxWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		if more > 0 && s.window > 0 { // otherwise its handler would only wait again
			s.cond.Broadcast()
		}
	}
	return nil
}

// onWindowUpdate handles a grant of the client to send more (section 6.9).
func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.StreamID != 0 {
		s := c.streams[f.StreamID]
		if s == nil {
			return c.wasOpen(f.StreamID)
		}
		if s.window += int64(f.Increment); s.window > maxWindow {
			return http2.StreamError{StreamID: f.StreamID, Code: http2.ErrCodeFlowControl}
		}
		if s.window > 0 {
			s.cond.Broadcast()
		}
		return nil
	}
	if c.sendWindow += int64(f.Increment); c.sendWindow > maxWindow {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	for _, s := range c.streams {
		if s.waiting && s.window > 0 {
			s.cond.Broadcast()
		}
	}
	return nil
}
