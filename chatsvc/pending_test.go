package chatsvc_test

import (
	"math"
	"testing"

	"golang.org/x/net/http2"

	"example.com/simplechat/chatsvc"
)

// Stuck subscribers that each hold another large message keep no more in memory than
// the bound, and a healthy one gets all messages.
//
//nolint:paralleltest // it measures the heap
func TestPendingWritesAreBounded(t *testing.T) {
	const (
		messages = 64
		size     = 1 << 20
		retained = 4 << 20
		limit    = 8 << 20
		allowed  = 28 << 20
	)
	for _, transport := range transports[1:] {
		t.Run(transport.name, func(t *testing.T) {
			w := newWire(t, qtClients[1], transport, chatsvc.WithPendingBytes(limit),
				chatsvc.WithRetention(chatsvc.Retention{Bytes: retained}), chatsvc.WithMaxContent(size+64))
			ctx := longContext(t)
			crowd := newCrowd(ctx, t, w.face)
			crowd.pass(ctx, t, 0, 8, size)
			conn := w.dial(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 5})
			conn.lowWater = math.MinInt
			conn.check(conn.framer.WriteWindowUpdate(0, math.MaxInt32-initialWindow))
			before := heap()
			for n := range messages {
				stream := conn.call(pathList, emptyBatch, "chat-offset", "end")
				stream.mustAnswer()
				stream.mustMessage()
				crowd.pass(ctx, t, 8+n, 9+n, size)
			}
			if grown := heap() - before; grown > allowed {
				t.Errorf("the heap grew by %d KiB with %d stuck subscribers", grown>>10, messages)
			}
		})
	}
}
