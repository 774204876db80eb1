// Package flood has the clients of the flood tests: hostile ones that keep to no rule of
// HTTP/2, HTTP/1.1 or the service, and an honest one that must lose nothing.
package flood

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const (
	sendPath   = chatconnect.SimpleChatSendMessageProcedure
	listPath   = chatconnect.SimpleChatMessageListProcedure
	healthPath = "/grpc.health.v1.Health/Check"
)

const (
	// patience is how long a client waits for what must happen.
	patience = 60 * time.Second
	// pause is how long it waits before it tries again.
	pause = 20 * time.Millisecond
)

// Attack is the behaviour of one hostile connection. It may end it, or leave that to the
// server.
type Attack struct {
	name    string
	workers int    // connections at a time
	proto   string // "h2", "http/1.1", or none: the connection does not begin
	run     func(p *hostile)
}

const (
	protoH2 = "h2"
	proto1  = "http/1.1"
	// tooMany frames are more than any connection may repeat: the kernel holds
	// some megabytes of answers that nobody reads before the server sees that.
	tooMany = 2_000_000
	// Calls are as many as the server of the flood lets a connection have.
	Calls = 50
	// Connections are as many as the server of the flood takes.
	Connections = 400
)

// Attacks returns all attacks.
func Attacks() []Attack { return slices.Concat(frameAttacks(), callAttacks()) }

// Wage attacks until ctx is done.
func (a Attack) Wage(ctx context.Context, t *testing.T, addr string, config *tls.Config) {
	fault := make(chan error, 1)
	var rounds atomic.Int64
	var wg sync.WaitGroup
	for range a.workers {
		wg.Go(func() {
			for ctx.Err() == nil {
				p, err := dialHostile(ctx, addr, config, a.proto, fault)
				if err == nil {
					rounds.Add(1)
					a.run(p)
					_ = p.Close()
				}
				select { // also a server that refuses connections has other clients
				case <-time.After(pause):
				case <-ctx.Done():
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-fault:
		t.Errorf("%s: %v", a.name, err)
	default:
	}
	if rounds.Load() == 0 {
		t.Errorf("%s: no connection", a.name)
	}
	t.Logf("%s: %d connections", a.name, rounds.Load())
}
