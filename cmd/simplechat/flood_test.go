package main

import (
	"context"
	"crypto/tls"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"example.com/simplechat/cmd/simplechat/internal/flood"
)

// floodTimeVariable names how long the floods last, for instance 10m (go test
// needs a longer -timeout then).
const floodTimeVariable = "TEST_FLOOD_TIME"

const (
	defaultFloodTime = 12 * time.Second
)

// floodFlags set bounds that the floods reach.
var floodFlags = []string{
	"--trusted-proxy", "127.0.0.0/8", "--max-connections", strconv.Itoa(flood.Connections), "--max-streams", strconv.Itoa(flood.Calls),
	"--hot-bytes", "8MiB", "--cold-bytes", "4MiB", "--body-bytes", "8MiB", "--pending-bytes", "8MiB",
	"--max-content", "256KiB", "--max-subscribers", "1000", "--user-streams", "100", "--max-public-calls", "200",
	"--retain-bytes", "256MiB", "--replay-bytes", "8MiB",
}

const (
	// floodMemory is what a flooded server may have in use above its beginning, in bytes: the
	// four bounds above are 28 MiB, and each call may take 8 KiB.
	floodMemory = 28<<20 + flood.Connections*flood.Calls*8<<10
	// floodGoroutines is how many a flooded server may have: one or two for each
	// connection, and one for each call.
	floodGoroutines = flood.Connections * (flood.Calls + 2)
	// leftMemory and so on are what it may have above its beginning when the flood is over:
	// messages and keys are kept, and up to 256 goroutines for the next calls.
	leftMemory, leftGoroutines, leftDescriptors = 32 << 20, 256 + 20, 20
)

// Under all attacks together a server stays within its bounds, an honest client
// loses nothing, and nothing is left of the attacks when they have ended.
func TestFloods(t *testing.T) {
	t.Parallel()
	lasting := defaultFloodTime
	if text := os.Getenv(floodTimeVariable); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatalf("%s: %v", floodTimeVariable, err)
		}
	}
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			flags, config := floodFlags, (*tls.Config)(nil)
			if scheme == "https" {
				cert, key, roots := certificate(t)
				flags = append([]string{"--tls-cert", cert, "--tls-key", key}, flags...)
				config = &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
			}
			s := startMeasured(t, flags...)
			h := flood.StartHonest(t, scheme+"://"+s.addr, config)
			h.AwaitMore(100) // memory that the first calls leave belongs to the server
			begin := s.holdings(askHoldings)
			most := floodServer(t, s, config, lasting, begin)
			h.Stop()
			s.awaitRest(begin)
			t.Logf("%d messages, %d streams; at the beginning %+v, most %+v, at the end %+v", h.Sent, h.Streams(), begin, most, s.holdings(askHoldings))
			if sent := h.Sent; sent < 100 {
				t.Errorf("the honest client sent %d messages", sent)
			}
		})
	}
}

// floodServer attacks a server for a time, and returns the most that it held.
func floodServer(t *testing.T, s *measuredServer, config *tls.Config, lasting time.Duration, begin holdings) (most holdings) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, a := range flood.Attacks() {
		wg.Go(func() { a.Wage(ctx, t, s.addr, config) })
	}
	for tick := time.NewTicker(500 * time.Millisecond); ctx.Err() == nil; {
		now := s.holdings(askHoldings)
		most = holdings{max(most.Memory, now.Memory), max(most.Goroutines, now.Goroutines), max(most.Descriptors, now.Descriptors)}
		if now.Memory > begin.Memory+floodMemory || now.Goroutines > floodGoroutines || now.Descriptors > begin.Descriptors+flood.Connections+leftDescriptors {
			t.Errorf("the server holds %+v, and then %+v", now, s.holdings(askStacks))
			cancel()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	return most
}

// awaitRest waits until a server holds no more than at its beginning, apart from what it
// keeps.
func (s *measuredServer) awaitRest(begin holdings) {
	s.tb.Helper()
	for deadline := time.Now().Add(patience); ; {
		now := s.holdings(askHoldings)
		if now.Memory <= begin.Memory+leftMemory && now.Goroutines <= begin.Goroutines+leftGoroutines && now.Descriptors <= begin.Descriptors+leftDescriptors {
			return
		}
		if time.Now().After(deadline) {
			s.tb.Fatalf("the server still holds %+v, at its beginning %+v", s.holdings(askStacks), begin)
		}
		<-time.After(pause)
	}
}
