package crowd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/cmd/chatbench/internal/wire"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// minContent is the smallest content: the number must be within the part that a scanner
// passes on.
const minContent = wire.HeadBytes

var errNumber = errors.New("content does not begin with a number")

// newContent returns the content of message n, of at least size bytes.
func newContent(n uint64, size int) []byte {
	content := fmt.Appendf(nil, "#%016x#", n)
	return append(content, bytes.Repeat([]byte{'x'}, max(minContent, size)-len(content))...)
}

// number returns the number of a message's content.
func number(content []byte) (uint64, error) {
	if len(content) < minContent || content[0] != '#' || content[17] != '#' {
		return 0, errNumber
	}
	return strconv.ParseUint(string(content[1:17]), 16, 64)
}

// imageSize is the size from which on content counts as an image, in bytes.
const imageSize = 32 << 10

// sendTime bounds one attempt to send.
const sendTime = 10 * time.Second

// Publish sends rate messages a second until ctx is done, and repeats each until it is
// acknowledged; size returns the bytes of each content. It returns an error if the server
// refuses a message for another reason than unavailability.
func (c *Crowd) Publish(ctx context.Context, rate float64, size func(n uint64) int) error {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	protocolsOf := [][]connect.ClientOption{{connect.WithGRPC()}}
	if c.config.AnySend {
		protocolsOf = append(protocolsOf, []connect.ClientOption{connect.WithGRPCWeb()}, []connect.ClientOption{connect.WithProtoJSON()}, nil)
	}
	clients := make([]chatconnect.SimpleChatClient, 0, len(protocolsOf))
	for _, options := range protocolsOf {
		clients = append(clients, chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, "http://"+c.config.Addr, options...))
	}
	tick := time.NewTicker(time.Duration(float64(time.Second) / rate))
	defer tick.Stop()
	for n := c.stored.Load(); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		msg := &chatpb.ChatMessage{Type: chatpb.ChatMessage_Text, Content: newContent(n, size(n))}
		if len(msg.GetContent()) >= imageSize {
			msg.Type = chatpb.ChatMessage_Image
		}
		switch err := c.send(context.WithoutCancel(ctx), clients[n%uint64(len(clients))], n, msg); {
		case err == nil:
			n++
			c.stored.Store(n)
		case connect.IsWireError(err) && connect.CodeOf(err) != connect.CodeUnavailable:
			return fmt.Errorf("send message %d: %w", n, err)
		}
	}
}

// send sends a message once. It may be sent again, whether or not it was stored.
func (c *Crowd) send(ctx context.Context, client chatconnect.SimpleChatClient, n uint64, msg *chatpb.ChatMessage) error {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	header := call.RequestHeader()
	header.Set("User-Name", c.config.User)
	header.Set("User-Password", c.config.Password)
	header.Set(chatsvc.HeaderIdempotencyKey, strconv.FormatUint(n, 10))
	_, err := client.SendMessage(ctx, msg)
	return err
}
