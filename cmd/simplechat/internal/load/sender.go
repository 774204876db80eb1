package load

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/linear"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/ledger"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// StartCrowd starts all kinds of senders: most of them with keys, some without,
// and one that uses chatclient.
func (l *Load) StartCrowd(url string, size func() int) {
	for i := range crowd - 1 {
		l.StartSender(fmt.Sprintf("user%d", i+1), url, i%6 > 0, size)
	}
	l.StartClient(fmt.Sprintf("user%d", crowd), url, size)
}

// StartSender lets a user send to the server at url. Where the user has keys, a
// message that was not acknowledged is sent again with its key until it is;
// without, it may be stored or not, and the next one follows.
func (l *Load) StartSender(user, url string, keys bool, size func() int) {
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: user, Base: testkit.NewTransport(l.tb, true)}}, url)
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m := ledger.NewMessage(user, n, size())
			l.Send(m)
			for again, key := true, fmt.Sprint(n); again && !l.try(client, m, key, keys); again = keys {
				l.Wait(pause)
			}
		}
	})
}

// StartClient is startSender for a program that uses chatclient.
func (l *Load) StartClient(user, urls string, size func() int) {
	var m ledger.Message
	var attempt *linear.Append
	begin := func() {
		attempt = l.Recorder.Append(m.Record(), m.Record())
		l.Begin()
	}
	client := l.chatclient(user, urls, chatclient.WithRetryObserver(func(chatclient.Retry) { begin() }))
	l.senders.Go(func() {
		for n := 0; !l.done(); n++ {
			m = ledger.NewMessage(user, n, size())
			l.Send(m)
			begin()
			sent, err := client.Send(l.ctx, m.Proto(), "")
			switch {
			case l.ctx.Err() != nil:
			case err != nil:
				l.Blamef("%s sent %v: %v", user, m, err)
			default:
				attempt.Return(sent.Epoch, sent.Offset, sent.Duplicate)
				l.Acknowledge(m, ledger.Place{Epoch: sent.Epoch, Offset: sent.Offset})
			}
		}
	})
}

// try sends a message once, and reports whether that is the end of it.
func (l *Load) try(client chatconnect.SimpleChatClient, m ledger.Message, key string, keyed bool) bool {
	ctx, cancel := context.WithTimeout(l.ctx, 10*time.Second)
	defer cancel()
	ctx, call := connect.NewClientContext(ctx)
	recorded := ""
	if keyed {
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
		recorded = m.From + " " + key
	}
	attempt := l.Recorder.Append(m.Record(), recorded)
	l.Begin()
	_, err := client.SendMessage(ctx, m.Proto())
	switch {
	case l.ctx.Err() != nil:
		return true
	case err == nil:
		p, err := PlaceOf(call.ResponseHeader())
		if err != nil {
			l.Blamef("%s sent %v: %v", m.From, m, err)
		}
		attempt.Return(p.Epoch, p.Offset, call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true")
		l.Acknowledge(m, p)
		return true
	case connect.IsWireError(err) && connect.CodeOf(err) != connect.CodeUnavailable:
		l.Blamef("%s sent %v: %v", m.From, m, err) // errors of the server itself must allow another attempt
	}
	return false
}

// SendLast sends the last message of all, and returns its place.
func (l *Load) SendLast(url string) ledger.Place {
	l.tb.Helper()
	l.SendUntilTaken(url, "the end")
	return l.Last()
}

// SendUntilTaken sends a message that no other is like, and returns how often it
// was refused.
func (l *Load) SendUntilTaken(url, content string) (refusals int) {
	l.tb.Helper()
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user5", Base: testkit.NewTransport(l.tb, true)}}, url)
	m := ledger.Message{From: "user5", Content: content, Kind: chatpb.ChatMessage_Text, Timestamp: 1}
	l.Send(m)
	for deadline := time.Now().Add(patience); !l.try(client, m, content, true); l.Wait(pause) {
		if time.Now().After(deadline) {
			l.tb.Fatal("nobody takes a message any more")
		}
		refusals++
	}
	return refusals
}

// StopSenders lets each sender get its message acknowledged, and no more.
func (l *Load) StopSenders() {
	l.tb.Helper()
	close(l.stopped)
	ended := make(chan struct{})
	go func() {
		l.senders.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		l.tb.Fatal("there are messages that nobody takes")
	}
}
