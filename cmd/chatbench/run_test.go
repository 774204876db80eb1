package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/testkit"
)

// newServer serves the chat in this process, and returns its address.
func newServer(tb testing.TB, transport string, options ...chatsvc.Option) string {
	tb.Helper()
	_, srv := testkit.Serve(tb, transport == wire.TLS, options...)
	return srv.Listener.Addr().String()
}

// Over each protocol and transport everything arrives, and is counted.
func TestProtocols(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{wire.H2C, wire.HTTP1, wire.TLS} {
		addr := newServer(t, transport)
		for _, protocol := range []string{wire.GRPC, wire.GRPCWeb, wire.Connect, wire.ConnectJSON, wire.NDJSON} {
			if protocol == wire.GRPC && transport == wire.HTTP1 {
				continue // gRPC is HTTP/2
			}
			t.Run(transport+"/"+protocol, func(t *testing.T) {
				t.Parallel()
				code, r, stderr := runLoad(t, addr, "--protocol", protocol, "--transport", transport, "-c", "2", "--pid", strconv.Itoa(os.Getpid()))
				checkWhole(t, code, r, stderr, 4)
				if connections := map[bool]int{true: 4, false: 2}[transport == wire.HTTP1]; r.Workload.Connections != connections {
					t.Errorf("%d connections", r.Workload.Connections)
				}
				if r.Server == nil || r.Server.RestBytes == 0 || r.Server.PeakBytes == 0 {
					t.Errorf("the server's process: %+v", r.Server)
				}
				if r.DeliveriesPerSecond > 0 && (r.BytesPerSecond == 0 || r.MessagesPerBatch < 1) {
					t.Errorf("%v bytes/s, %v messages a batch", r.BytesPerSecond, r.MessagesPerBatch)
				}
			})
		}
	}
}

func TestClosedLoop(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.H2C)
	code, r, stderr := runLoad(t, addr, "--rate", "0")
	checkWhole(t, code, r, stderr, 4)
	code, r, stderr = runLoad(t, addr, "--rate", "0", "-s", "0")
	checkWhole(t, code, r, stderr, 0)
}

// Contents larger than every window go through, and arrive whole.
func TestLargeContent(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"grpc":   nil,
		"ndjson": {"--protocol", wire.NDJSON},
		"http1":  {"--protocol", wire.Connect, "--transport", wire.HTTP1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := newServer(t, wire.H2C)
			code, r, stderr := runLoad(t, addr, append(args, "--size", "700000", "--rate", "20")...)
			checkWhole(t, code, r, stderr, 4)
		})
	}
}

// History is received, and is not taken for this run's messages.
func TestHistory(t *testing.T) {
	t.Parallel()
	for _, protocol := range []string{wire.GRPC, wire.NDJSON} {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			const replayed = 3
			addr := newServer(t, wire.H2C, chatsvc.WithReplay(chatsvc.Replay{Messages: replayed}))
			_, first, _ := runLoad(t, addr)
			code, r, stderr := runLoad(t, addr, "--protocol", protocol, "--history", wire.HistoryAll)
			checkWhole(t, code, r, stderr, 4)
			if r.Foreign != 4*first.Sends {
				t.Errorf("%d messages of history, %d are stored, for 4 subscribers", r.Foreign, first.Sends)
			}
			if _, r, _ := runLoad(t, addr, "--protocol", protocol, "--history", wire.HistoryReplay); r.Foreign != 4*replayed {
				t.Errorf("%d messages of history for 4 subscribers, the server replays %d", r.Foreign, replayed)
			}
			if _, r, _ := runLoad(t, addr, "--protocol", protocol); r.Foreign != 0 {
				t.Errorf("%d messages of history, none was asked for", r.Foreign)
			}
		})
	}
}

// Slow and stuck readers are counted apart, and no fault.
func TestSlowAndStuck(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.H2C)
	for _, connections := range []string{"20", "5"} {
		code, r, stderr := runLoad(t, addr, "-s", "20", "-c", connections, "--slow", "10", "--stuck", "15", "--slow-rate", "1000")
		checkWhole(t, code, r, stderr, 15)
		if r.Faults.Cut != 0 {
			t.Errorf("%d were cut", r.Faults.Cut)
		}
	}
}

// Slow subscribers that are cut are counted, and are not a fault.
func TestSlowIsCut(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.H2C, chatsvc.WithHotBytes(0), chatsvc.WithPendingBytes(1<<20), chatsvc.WithMaxContent(chatsvc.MaxContentCeiling))
	// A message takes the slow one longer than the server keeps it for the others, and
	// more than it keeps for slow ones alone.
	code, r, stderr := runLoad(t, addr, "-s", "5", "--slow", "20", "--slow-rate", "2000000", "--size", "2500000", "--rate", "3", "-d", "4s")
	checkWhole(t, code, r, stderr, 4)
	if r.Faults.Cut != 1 {
		t.Errorf("%d were cut", r.Faults.Cut)
	}
}

// Refused sends are reported with the reason, and are a failure.
func TestRefused(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.H2C)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"password":         {[]string{"--password", "wrong"}, "gRPC status \"16\""},
		"password/connect": {[]string{"--password", "wrong", "--protocol", wire.Connect}, "unauthenticated"},
		"password/http1":   {[]string{"--password", "wrong", "--protocol", wire.NDJSON, "--transport", wire.HTTP1}, "HTTP status 401"},
		"streams":          {[]string{"-s", "1000", "-c", "1"}, "--max-streams"},
		"process":          {[]string{"--pid", "999999999"}, "--pid"},
		"transport":        {[]string{"--transport", wire.TLS}, "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if code, _, stderr := runLoad(t, addr, c.args...); code != 1 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d, %q", code, stderr)
			}
		})
	}
	// Subscribers have no trouble with this one, publishers do.
	code, r, stderr := runLoad(t, addr, "--size", "1100000", "--rate", "20")
	if code != 1 || r.Faults.Refused == 0 || r.Faults.Lost != 0 || !strings.Contains(r.Faults.Cause, "content") {
		t.Errorf("too large contents: exit code %d, %+v, %s", code, r.Faults, stderr)
	}
}

func TestTableAndPlot(t *testing.T) {
	t.Parallel()
	addr := newServer(t, wire.H2C)
	for name, args := range map[string][]string{"crowd": nil, "send": {"-s", "0"}, "idle": {"-p", "0"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "run.svg")
			args := append([]string{"run", "--addr", addr, "-s", "3", "-r", "100", "-d", "200ms", "--warmup", "0s", "--plot", file}, args...)
			code, stdout, stderr := chatbench(t, args...)
			if code != 0 || !strings.HasPrefix(stdout, "workload ") || stderr != "" {
				t.Errorf("exit code %d, %s%s", code, stdout, stderr)
			}
			checkSVG(t, file)
		})
	}
}
