package main

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/linear"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	"example.com/simplechat/cmd/simplechat/internal/load"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// sendRecorded sends a message of a user once, and records the answer.
func sendRecorded(tb testing.TB, r *linear.Recorder, p *process, m ledger.Message) error {
	tb.Helper()
	ctx, call := connect.NewClientContext(chattest.Context(tb, patience))
	attempt := r.Append(m.Record(), "")
	_, err := p.client(m.From).SendMessage(ctx, m.Proto())
	switch {
	case err == nil:
		at, err := load.PlaceOf(call.ResponseHeader())
		if err != nil {
			tb.Fatal(err)
		}
		attempt.Return(at.Epoch, at.Offset, false)
	case connect.IsWireError(err) && strings.Contains(err.Error(), "was not stored"):
		attempt.Refuse()
	}
	return err
}

// readRecorded reads everything to the end of the log, and records it.
func readRecorded(tb testing.TB, r *linear.Recorder, p *process) {
	tb.Helper()
	ctx, call := connect.NewClientContext(chattest.Context(tb, patience))
	call.RequestHeader().Set(chatsvc.HeaderOffset, "1")
	call.RequestHeader().Set(chatsvc.HeaderUntil, "end")
	read := r.Read()
	stream, err := p.client("user1").MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var next, end ledger.Place
	for first := true; stream.Receive(); first = false {
		if first {
			next, err = load.PlaceOf(stream.ResponseHeader())
			until, invalid := strconv.ParseUint(stream.ResponseHeader().Get(chatsvc.HeaderUntil), 10, 64)
			if err := errors.Join(err, invalid); err != nil {
				tb.Fatal(err)
			}
			end = ledger.Place{Epoch: next.Epoch, Offset: until}
		}
		for _, m := range stream.Msg().GetMessages() {
			read.Return(next.Epoch, next.Offset, ledger.MessageOf(m).Record())
			next.Offset++
		}
	}
	if err := stream.Err(); err != nil || next != end {
		tb.Fatalf("the history ended before %v, the end of the log is %v: %v", next, end, err)
	}
	read.End(end.Epoch, end.Offset)
}

// checkRecorded fails the test if no order explains the recorded history.
func checkRecorded(tb testing.TB, r *linear.Recorder) {
	tb.Helper()
	if err := r.Check(); err != nil {
		tb.Error(err)
	}
}
