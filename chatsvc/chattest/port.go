package chattest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// FreePorts returns ports of loopback that nobody listens on, and that no system
// hands out by itself: until they are used nobody else gets them.
func FreePorts(tb testing.TB, n int) []string {
	tb.Helper()
	var ports []string
	for len(ports) < n {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			continue
		}
		defer l.Close() // all are open at a time, so that they differ
		ports = append(ports, port)
	}
	return ports
}
