package chatsvc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Messages that the process publishes are read in the process and over the wire. Messages
// from the wire are read in both ways, too.
func TestPublishAndMessages(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user1", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		stored, err := f.service.Publish(ctx, chatsvc.User{Name: "a bot"}, &chatpb.ChatMessage{From: "somebody", Content: []byte("one"), Type: chatpb.ChatMessage_Text})
		if err != nil || stored.Offset != 1 || stored.Epoch == "" || stored.Duplicate {
			t.Fatalf("%+v, %v", stored, err)
		}
		if got := sub.Next(); got.GetFrom() != "a bot" || got.GetTimestamp() == 0 {
			t.Errorf("%v", got)
		}
		send(ctx, t, client, text("two"))
		var seen []string
		position := ""
		for msg, err := range f.service.Messages(ctx, "all") {
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, fmt.Sprintf("%d %s %s", msg.Offset, msg.GetFrom(), msg.GetContent()))
			if position = msg.Next(); len(seen) == 2 {
				send(ctx, t, client, text("three"))
			}
			if len(seen) == 3 {
				break
			}
		}
		if got := strings.Join(seen, ", "); got != "1 a bot one, 2 user1 two, 3 user1 three" || position != "4@"+stored.Epoch {
			t.Errorf("%s; %s", got, position)
		}
		send(ctx, t, client, text("four"))
		for from, want := range map[string]string{position: "four", "-2": "three", "2": "two", "0@another": "one", "3@another": "one", "1@" + stored.Epoch: "one"} {
			for msg, err := range f.service.Messages(ctx, from) {
				if err != nil || string(msg.GetContent()) != want {
					t.Errorf("from %s: %v, %v", from, msg, err)
				}
				break
			}
		}
	})
}

// Publish refuses the same messages as sends, and a sequence returns the reason for its
// end.
func TestPublishAndMessagesFail(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	svc := newService(t, chatsvc.WithMaxContent(10))
	bot := chatsvc.User{Name: "bot"}
	for name, test := range map[string]struct {
		user chatsvc.User
		msg  *chatpb.ChatMessage
		code connect.Code
	}{
		"no name":        {chatsvc.User{}, text("x"), connect.CodeInvalidArgument},
		"long name":      {chatsvc.User{Name: strings.Repeat("x", 257)}, text("x"), connect.CodeInvalidArgument},
		"name not UTF-8": {chatsvc.User{Name: "\xff"}, text("x"), connect.CodeInvalidArgument},
		"text not UTF-8": {bot, text("\xff"), connect.CodeInvalidArgument},
		"unknown type":   {bot, &chatpb.ChatMessage{Type: 9}, connect.CodeInvalidArgument},
		"large":          {bot, text("01234567890"), connect.CodeResourceExhausted},
	} {
		if _, err := svc.Publish(ctx, test.user, test.msg); connect.CodeOf(err) != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	code := func(ctx context.Context, from string, until func(chatsvc.Message)) connect.Code {
		var last error
		for msg, err := range svc.Messages(ctx, from) {
			if last = err; err == nil {
				until(msg)
			}
		}
		if last == nil {
			return 0
		}
		return connect.CodeOf(last)
	}
	for _, from := range []string{"x", "@", "1@", "-0", "all@x", "1@a b"} {
		if got := code(ctx, from, nil); got != connect.CodeInvalidArgument {
			t.Errorf("from %q: %v", from, got)
		}
	}
	for range 2 {
		if _, err := svc.Publish(ctx, bot, text("hi")); err != nil {
			t.Fatal(err)
		}
	}
	cancelled, cancel := context.WithCancel(ctx)
	if got := code(cancelled, "all", func(chatsvc.Message) { cancel() }); got != 0 {
		t.Errorf("after the end of its context: %v", got)
	}
	cancel()
	if got := code(ctx, "2", func(chatsvc.Message) { svc.Close() }); got != connect.CodeUnavailable {
		t.Errorf("after Close: %v", got)
	}
	if got := code(ctx, "all", nil); got != connect.CodeUnavailable {
		t.Errorf("after Close, from the start: %v", got)
	}
	if _, err := svc.Publish(ctx, bot, text("hi")); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("publish after Close: %v", err)
	}
	if err := svc.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
