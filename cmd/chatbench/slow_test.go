package main

import (
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Clients that toggle their windows are counted apart, and the others get
// everything.
func TestToggling(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{transportH2C, transportTLS} {
		addr := newServer(t, transport)
		code, r, stderr := runLoad(t, addr, "--transport", transport, "--toggling", "3", "--toggle-time", "5ms")
		checkWhole(t, code, r, stderr, 4)
		if r.Faults.Cut != 0 {
			t.Errorf("%d were cut", r.Faults.Cut)
		}
	}
}

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

// The slow command runs from the start of the server to the report.
func TestSlowQuick(t *testing.T) {
	t.Parallel()
	complete := func(report string) error {
		for _, want := range []string{
			`\| 1 subscriber, 50/s, 2 toggling \| p50 \| [0-9].*s \| [0-9].*s \| [0-9.]+ \| ≤ 1.3 \| – \|`,
			`\| 1 subscriber, 50/s, 2 toggling \| p99 \| [0-9].*s \| [0-9].*s \| [0-9.]+ \| ≤ 1.3 \| – \|`,
			`\| 10 subscribers, 50/s, 10 toggling \| p99 \| \? \| [0-9].*s \| \? \| ≤ 1.5 \| \? \|`, // without its reference
		} {
			if !regexp.MustCompile(want).MatchString(report) {
				return fmt.Errorf("the report does not have %q", want)
			}
		}
		return nil
	}
	report, stdout := quickReport(t, complete, "slow", "--only", "1+0,1+2,900+100")
	if stdout == "" || !strings.Contains(report, stdout) {
		t.Errorf("what was printed is not in the report:\n%s", stdout)
	}
}

// A latency reaches what is required at its limit, and not beyond it.
func TestSlowTable(t *testing.T) {
	t.Parallel()
	c := &slowCmd{roundFlags: roundFlags{Rounds: 1}}
	cmp := c.choose([]string{"5+0", "5+1"}, slowLoads())
	cmp.runs[runKey{"5+0", ours}] = []*result{{Latency: latency{P50: time.Millisecond, P99: 10 * time.Millisecond}}}
	cmp.runs[runKey{"5+1", ours}] = []*result{{Latency: latency{P50: 1300 * time.Microsecond, P99: 13_100 * time.Microsecond}}}
	table := cmp.slowTable()
	for _, want := range []string{"| p50 | 1ms | 1.3ms | 1.3 | ≤ 1.3 | yes |", "| p99 | 10ms | 13.1ms | 1.31 | ≤ 1.3 | **no** |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table does not have %q:\n%s", want, table)
		}
	}
}
