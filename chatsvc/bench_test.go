package chatsvc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// benchContent is the size of a message in bytes.
const benchContent = 100

// BenchmarkAppend stores records in a MemoryLog.
func BenchmarkAppend(b *testing.B) {
	log := chatsvc.NewMemoryLog(chatsvc.DefaultRetention())
	data := record(b, strings.Repeat("x", benchContent))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := log.Append(b.Context(), data, ""); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFollow stores records and stops when a follower has seen them all.
func BenchmarkFollow(b *testing.B) {
	log := chatsvc.NewMemoryLog(chatsvc.DefaultRetention())
	data := record(b, strings.Repeat("x", benchContent))
	b.ReportAllocs()
	done := make(chan error)
	state, err := log.State(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		done <- log.Follow(b.Context(), state.Epoch, 1, func(c chatsvc.Chunk) error {
			if c.Next > uint64(b.N) {
				return errEnough
			}
			return nil
		})
	}()
	for range b.N {
		if _, err := log.Append(b.Context(), data, ""); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; !errors.Is(err, errEnough) {
		b.Fatal(err)
	}
}

// newBenchServer returns a server over h2c with the option to keep streams
// going in one process.
func newBenchServer(b *testing.B) *server {
	b.Helper()
	svc := newService(b)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	return newServer(b, mux, transports[1])
}

// benchClient returns a client on a connection of its own.
func benchClient(b *testing.B, s *server, options ...connect.ClientOption) chatconnect.SimpleChatClient {
	b.Helper()
	options = append(options, connect.WithInterceptors(setHeader(header())))
	return chatconnect.NewSimpleChatClient(s.newClient(b), s.url, options...)
}

// BenchmarkSend sends over gRPC from four connections, 60 in flight on each,
// without subscribers.
func BenchmarkSend(b *testing.B) {
	s := newBenchServer(b)
	const connections, inFlight = 4, 60
	msg := text(strings.Repeat("x", benchContent))
	next := make(chan struct{}, inFlight)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for range connections {
		client := benchClient(b, s, connect.WithGRPC())
		for range inFlight {
			wg.Go(func() {
				for range next {
					if _, err := client.SendMessage(b.Context(), msg); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
	}
	for range b.N {
		next <- struct{}{}
	}
	close(next)
	wg.Wait()
}

// BenchmarkFanout sends to many subscribers, each on a connection of its own,
// and stops when the last one has the last message. ns/op is that of one
// delivery.
func BenchmarkFanout(b *testing.B) {
	for _, subscribers := range []int{1, 100, 1000} {
		for _, form := range []struct {
			name    string
			options []connect.ClientOption
		}{
			{"proto", []connect.ClientOption{connect.WithGRPC()}},
			{"json", []connect.ClientOption{connect.WithGRPC(), connect.WithProtoJSON()}},
		} {
			b.Run(fmt.Sprintf("subs=%d/%s", subscribers, form.name), func(b *testing.B) {
				s := newBenchServer(b)
				messages := max(1, b.N/subscribers)
				var wg sync.WaitGroup
				for range subscribers {
					stream, err := benchClient(b, s, form.options...).MessageList(b.Context(), &chatpb.None{})
					if err != nil {
						b.Fatal(err)
					}
					stream.Receive() // connected
					wg.Go(func() {
						for seen := 0; seen < messages && stream.Receive(); {
							seen += len(stream.Msg().GetMessages())
						}
						if err := stream.Err(); err != nil {
							b.Error(err)
						}
					})
				}
				publisher := benchClient(b, s, connect.WithGRPC())
				msg := text(strings.Repeat("x", benchContent))
				b.ReportAllocs()
				b.ResetTimer()
				for range messages {
					if _, err := publisher.SendMessage(context.Background(), msg); err != nil {
						b.Fatal(err)
					}
				}
				wg.Wait()
			})
		}
	}
}
