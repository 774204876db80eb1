package peer

import (
	"context"
	"net/http"

	"connectrpc.com/connect"

	"example.com/simplechat/cmd/chatbench/internal/wire"
	"example.com/simplechat/cmd/internal/cli"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

type connectCmd struct{ flags }

// Run serves until ctx is done.
func (c *connectCmd) Run(ctx context.Context, out *cli.Output) error {
	mux := http.NewServeMux()
	mux.Handle(chatconnect.NewSimpleChatHandler(connectChat{newHub()},
		connect.WithCompression("gzip", nil, nil), // small messages do not shrink, and Qt's clients cannot inflate
	))
	return c.serveHTTP(ctx, out, mux)
}

// connectChat is the chat as connect-go's handlers.
type connectChat struct{ hub *hub }

var _ chatconnect.SimpleChatHandler = connectChat{}

// SendMessage implements [chatconnect.SimpleChatHandler].
func (c connectChat) SendMessage(ctx context.Context, m *chatpb.ChatMessage) (*chatpb.None, error) {
	user, err := connectUser(ctx)
	if err != nil {
		return nil, err
	}
	c.hub.publish(user, m)
	return &chatpb.None{}, nil
}

// MessageList implements [chatconnect.SimpleChatHandler].
func (c connectChat) MessageList(ctx context.Context, _ *chatpb.None, stream *connect.ServerStream[chatpb.ChatMessages]) error {
	if _, err := connectUser(ctx); err != nil {
		return err
	}
	call, _ := connect.CallInfoForHandlerContext(ctx)
	return c.hub.subscribe(ctx, call.RequestHeader().Get("Chat-Offset") == wire.HistoryEnd, stream.Send)
}

func connectUser(ctx context.Context) (string, error) {
	call, _ := connect.CallInfoForHandlerContext(ctx)
	header := call.RequestHeader()
	user, err := login(header.Get("User-Name"), header.Get("User-Password"))
	if err != nil {
		return "", connect.NewError(connect.CodeUnauthenticated, err)
	}
	return user, nil
}
