package load

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// StartWatcher lets someone watch the server at url from the beginning, or from
// where the ledger has it, and come back whenever the stream ends: to what url
// then returns.
func (l *Load) StartWatcher(name string, url func() string) {
	l.See(name)
	next := l.Next(name)
	transport := testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}
	l.watchers.Go(func() {
		for l.ctx.Err() == nil {
			client := chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, url(), connect.WithGRPC())
			if err := l.watch(client, name, &next); err != nil {
				l.Wait(pause)
			}
		}
	})
}

// watch reads one stream to its end from next on, which it moves.
func (l *Load) watch(client chatconnect.SimpleChatClient, name string, next *ledger.Place) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	call.RequestHeader().Set(chatsvc.HeaderOffset, strconv.FormatUint(next.Offset, 10))
	if next.Epoch != "" {
		call.RequestHeader().Set(chatsvc.HeaderEpoch, next.Epoch)
	}
	read := l.Recorder.Read()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	for first := true; stream.Receive(); first = false {
		if first {
			p, err := PlaceOf(stream.ResponseHeader())
			if err != nil {
				l.Blamef("watcher %s: %v", name, err)
			}
			if p.Offset != next.Offset || next.Epoch != "" && p.Epoch != next.Epoch {
				l.Blamef("watcher %s asked for %v, and was sent to %v", name, *next, p)
			}
			*next = p
		}
		for _, m := range stream.Msg().GetMessages() {
			read.Return(next.Epoch, next.Offset, ledger.MessageOf(m).Record())
			l.See(name, ledger.Placed{Place: *next, Message: ledger.MessageOf(m)})
			next.Offset++
		}
	}
	return stream.Err()
}

// StartFollower is startWatcher for a program that uses chatclient, with more options.
func (l *Load) StartFollower(name, urls string, more ...chatclient.Option) {
	l.See(name)
	client := l.chatclient("user5", urls, more...)
	read := l.Recorder.Read()
	l.watchers.Go(func() {
		err := client.Follow(l.ctx, chatclient.All(), func(e chatclient.Event) error {
			if e.Lost > 0 || e.NewEpoch {
				l.Blamef("follower %s: %d records lost, new epoch %v, at %s %d", name, e.Lost, e.NewEpoch, e.Epoch, e.Offset)
			}
			if e.Message != nil {
				read.Return(e.Epoch, e.Offset, ledger.MessageOf(e.Message).Record())
				l.See(name, ledger.Placed{Place: ledger.Place{Epoch: e.Epoch, Offset: e.Offset}, Message: ledger.MessageOf(e.Message)})
			}
			return nil
		})
		if l.ctx.Err() == nil {
			l.Blamef("follower %s ended: %v", name, err)
		}
	})
}

// awaitWatchers waits until all watchers have seen end, unless something is wrong
// already: then it may never come. Those who have not are found by the checker.
func (l *Load) awaitWatchers(end ledger.Place) {
	for deadline := time.Now().Add(patience); len(l.Behind(end)) > 0 && !l.IsBlamed() && time.Now().Before(deadline); {
		l.Wait(pause)
	}
}
