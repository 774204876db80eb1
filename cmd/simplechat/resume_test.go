package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// store sends a text as user1, again until the server has taken it, and returns
// its place. A message with a key is stored once.
func store(tb testing.TB, p *process, content, key string) ledger.Place {
	tb.Helper()
	client, err := chatclient.New(p.url(""), chatclient.WithBasicAuth("user1", "qwerty"))
	if err != nil {
		tb.Fatal(err)
	}
	defer client.Close()
	sent, err := client.Send(chattest.Context(tb, patience), text(content), key)
	if err != nil {
		tb.Fatal(err)
	}
	return ledger.Place{Epoch: sent.Epoch, Offset: sent.Offset}
}

// resumeAt opens a stream at a place, again while the server refuses it, and
// returns where it begins.
func resumeAt(tb testing.TB, p *process, at ledger.Place) ledger.Place {
	tb.Helper()
	ctx := chattest.Context(tb, patience)
	for {
		begin, err := tryResume(ctx, p, at)
		if err == nil {
			return begin
		}
		if connect.CodeOf(err) != connect.CodeUnavailable {
			tb.Fatalf("resume at %v: %v", at, err)
		}
		time.Sleep(pause) // as a client does before it tries again
	}
}

func tryResume(ctx context.Context, p *process, at ledger.Place) (ledger.Place, error) {
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, fmt.Sprint(at.Offset))
	if at.Epoch != "" {
		call.RequestHeader().Set(chatsvc.HeaderEpoch, at.Epoch)
	}
	stream, err := p.client("user1", connect.WithGRPC()).MessageList(ctx, &chatpb.None{})
	if err != nil {
		return ledger.Place{}, err
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() {
		return ledger.Place{}, stream.Err()
	}
	return load.PlaceOf(stream.ResponseHeader())
}
