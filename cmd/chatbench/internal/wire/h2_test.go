package wire

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// They close their windows and open them, in turn.
func TestToggle(t *testing.T) {
	t.Parallel()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = server.Close() })
	framer := http2.NewFramer(server, server)
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		buffered := make([]byte, len(http2.ClientPreface))
		_, _ = io.ReadFull(server, buffered)
		_, _ = framer.ReadFrame() // the first settings
		_, _ = framer.ReadFrame() // the connection's window
		_ = framer.WriteSettings()
		_, _ = framer.ReadFrame() // their acknowledgement
		for _, want := range []uint32{0, hugeWindow, 0, hugeWindow} {
			frame, err := framer.ReadFrame()
			settings, ok := frame.(*http2.SettingsFrame)
			if !ok {
				t.Errorf("%v, %v", frame, err)
				return
			}
			if got, ok := settings.Value(http2.SettingInitialWindowSize); !ok || got != want {
				t.Errorf("a window of %d, %d was due", got, want)
			}
		}
		_ = server.Close()
	}()
	c, err := newH2Conn(client, false)
	if err != nil {
		t.Fatal(err)
	}
	c.toggle(time.Millisecond, ended) // until the connection ends
	<-done
}
