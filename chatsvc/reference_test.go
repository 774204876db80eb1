package chatsvc_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// reference is the chat that Qt's scheme describes, as one writes it with grpc-go when
// nothing but being right counts.
type reference struct {
	addr   string
	server *grpc.Server

	mu       sync.Mutex // guards all below
	messages []*chatpb.ChatMessage
	grown    chan struct{} // closed when there is one message more, or no more
	closed   bool
}

// newReference serves on a free port of loopback until the test ends.
func newReference(tb testing.TB) *reference {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	r := &reference{addr: listener.Addr().String(), server: grpc.NewServer(), grown: make(chan struct{})}
	r.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: chatconnect.SimpleChatName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{
			MethodName: "sendMessage",
			Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				msg := new(chatpb.ChatMessage)
				if err := decode(msg); err != nil {
					return nil, err
				}
				return &chatpb.None{}, r.send(ctx, msg)
			},
		}},
		Streams: []grpc.StreamDesc{{
			StreamName:    "messageList",
			ServerStreams: true,
			Handler:       func(_ any, stream grpc.ServerStream) error { return r.list(stream) },
		}},
	}, r)
	go func() { _ = r.server.Serve(listener) }()
	tb.Cleanup(r.server.Stop)
	return r
}

// user returns who calls.
func (r *reference) user(ctx context.Context) (string, error) {
	header, _ := metadata.FromIncomingContext(ctx)
	first := func(name string) string { return append(header.Get(name), "")[0] }
	for _, u := range chatsvc.DemoUsers().GetUsers() {
		if u.GetName() == first("user-name") && u.GetPassword() == first("user-password") {
			return u.GetName(), nil
		}
	}
	return "", status.Error(codes.Unauthenticated, "wrong name or password")
}

func (r *reference) send(ctx context.Context, msg *chatpb.ChatMessage) error {
	user, err := r.user(ctx)
	switch {
	case err != nil:
		return err
	case len(msg.GetContent()) > 1<<20:
		return status.Error(codes.ResourceExhausted, "too large")
	case msg.GetType() < chatpb.ChatMessage_Unknown || msg.GetType() > chatpb.ChatMessage_Image:
		return status.Error(codes.InvalidArgument, "unknown type")
	case msg.GetType() == chatpb.ChatMessage_Text && !utf8.Valid(msg.GetContent()):
		return status.Error(codes.InvalidArgument, "not UTF-8")
	}
	msg.From = user
	if msg.GetTimestamp() == 0 {
		msg.Timestamp = uint64(time.Now().UnixMilli())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.messages = append(r.messages, msg)
	close(r.grown)
	r.grown = make(chan struct{})
	return nil
}

func (r *reference) list(stream grpc.ServerStream) error {
	if err := stream.RecvMsg(new(chatpb.None)); err != nil {
		return err
	}
	if _, err := r.user(stream.Context()); err != nil {
		return err
	}
	for sent, first := 0, true; ; first = false {
		r.mu.Lock()
		batch, grown, closed := slices.Clone(r.messages[sent:]), r.grown, r.closed
		r.mu.Unlock()
		switch {
		case len(batch) > 0:
			batch = batch[:1] // no message is larger than a client accepts
		case closed:
			return status.Error(codes.Unavailable, "shutting down")
		}
		if len(batch) > 0 || first {
			if err := stream.SendMsg(&chatpb.ChatMessages{Messages: batch}); err != nil {
				return err
			}
			sent += len(batch)
			continue
		}
		select {
		case <-grown:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}

// Close ends all streams.
func (r *reference) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	close(r.grown)
	r.grown = make(chan struct{})
}
