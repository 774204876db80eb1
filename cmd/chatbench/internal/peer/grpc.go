package peer

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

type grpcCmd struct{ flags }

// Run serves until ctx is done.
func (c *grpcCmd) Run(ctx context.Context, out *cli.Output) error {
	listener, err := c.listen(ctx)
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	srv.RegisterService(&grpcChatDesc, grpcChat{newHub()})
	context.AfterFunc(ctx, srv.Stop)
	c.announce(out, listener.Addr())
	return srv.Serve(listener)
}

// grpcChat is the chat as grpc-go's handlers.
type grpcChat struct{ hub *hub }

// grpcChatDesc is the description that protoc-gen-go-grpc would generate. The repository
// contains only connect's generated code.
var grpcChatDesc = grpc.ServiceDesc{
	ServiceName: chatconnect.SimpleChatName,
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "sendMessage",
		Handler: func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			m := new(chatpb.ChatMessage)
			if err := decode(m); err != nil {
				return nil, err
			}
			return srv.(grpcChat).sendMessage(ctx, m) //nolint:forcetypeassert // it was registered so
		},
	}},
	Streams: []grpc.StreamDesc{{
		StreamName:    "messageList",
		ServerStreams: true,
		Handler: func(srv any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(chatpb.None)); err != nil {
				return err
			}
			return srv.(grpcChat).messageList(stream) //nolint:forcetypeassert // it was registered so
		},
	}},
}

func (c grpcChat) sendMessage(ctx context.Context, m *chatpb.ChatMessage) (*chatpb.None, error) {
	user, _, err := grpcCaller(ctx)
	if err != nil {
		return nil, err
	}
	c.hub.publish(user, m)
	return &chatpb.None{}, nil
}

func (c grpcChat) messageList(stream grpc.ServerStream) error {
	_, header, err := grpcCaller(stream.Context())
	if err != nil {
		return err
	}
	onlyNew := last(header.Get("chat-offset")) == wire.HistoryEnd
	return c.hub.subscribe(stream.Context(), onlyNew, func(batch *chatpb.ChatMessages) error { return stream.SendMsg(batch) })
}

// grpcCaller returns the user that calls, and the call's header.
func grpcCaller(ctx context.Context) (string, metadata.MD, error) {
	header, _ := metadata.FromIncomingContext(ctx)
	user, err := login(last(header.Get("user-name")), last(header.Get("user-password")))
	if err != nil {
		return "", nil, status.Error(codes.Unauthenticated, err.Error())
	}
	return user, header, nil
}

// last returns the last of values, or the empty string.
func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}
