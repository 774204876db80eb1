package load

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// StartProber asks the server at url again and again where the log ends, until the
// senders have stopped.
func (l *Load) StartProber(url string) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url, connect.WithGRPC())
	l.senders.Go(func() {
		for !l.done() {
			_ = l.probe(client)
			l.Wait(pause)
		}
	})
}

// probe asks for the end of the log once.
func (l *Load) probe(client chatconnect.SimpleChatClient) error {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, "end")
	call.RequestHeader().Set(chatsvc.HeaderUntil, "end")
	read := l.Recorder.Read()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() {
		return stream.Err()
	}
	end, err := strconv.ParseUint(stream.ResponseHeader().Get(chatsvc.HeaderUntil), 10, 64)
	if err != nil {
		l.Blamef("the end of the log: %v in %v", err, stream.ResponseHeader())
		return err
	}
	read.End(stream.ResponseHeader().Get(chatsvc.HeaderEpoch), end)
	return nil
}

// ReadHistory returns everything from the first retained message to end.
func ReadHistory(tb testing.TB, url string, end ledger.Place) []ledger.Placed {
	tb.Helper()
	ctx := chattest.Context(tb, patience)
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user4", Base: testkit.NewTransport(tb, true)}}, url, connect.WithGRPC())
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var history []ledger.Placed
	for stream.Receive() {
		next, err := PlaceOf(stream.ResponseHeader())
		if err != nil {
			tb.Fatal(err)
		}
		next.Offset += uint64(len(history))
		for _, m := range stream.Msg().GetMessages() {
			history = append(history, ledger.Placed{Place: next, Message: ledger.MessageOf(m)})
			next.Offset++
		}
		if next.Offset > end.Offset {
			return history
		}
	}
	tb.Fatalf("the history ended before %v: %v", end, stream.Err())
	return nil
}

// PlaceOf returns the place that a response's header names.
func PlaceOf(h http.Header) (ledger.Place, error) {
	offset, err := strconv.ParseUint(h.Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil || h.Get(chatsvc.HeaderEpoch) == "" {
		return ledger.Place{}, fmt.Errorf("no place in the response's header %v", h)
	}
	return ledger.Place{Epoch: h.Get(chatsvc.HeaderEpoch), Offset: offset}, nil
}
