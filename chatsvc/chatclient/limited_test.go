package chatclient_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// A client that a limit refuses comes back when the server asks it to, and not before.
func TestLimitedCallsAreRepeated(t *testing.T) {
	t.Parallel()
	detail := chatsvc.NewLimitError(7*time.Second, errors.New("too many"))
	detail.Meta().Del(chatsvc.HeaderRetryAfter) // as by a proxy
	header := connect.NewError(connect.CodeResourceExhausted, errors.New("too many"))
	header.Meta().Set(chatsvc.HeaderRetryAfter, "7")
	for name, refusal := range map[string]*connect.Error{"header": header, "detail": detail} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mustComeBack(t, refusal)
		})
	}
}

func mustComeBack(t *testing.T, refusal *connect.Error) {
	t.Helper()
	answers := []answer{{err: refusal}, {epoch: "E", first: 1, batch: []string{"a"}}}
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		sends, streams := n.serveScript(t, "sends", answers...), n.serveScript(t, "streams", answers...)
		if sent, err := n.client(t, "http://sends").SendText(chattest.Context(t, patience), "a"); err != nil || sent.Offset != 1 {
			t.Errorf("send: %v, %v", sent, err)
		}
		follow(chattest.Context(t, patience), t, n.client(t, "http://streams"), chatclient.All(), 1)
		for name, server := range map[string]*script{"send": sends, "stream": streams} {
			calls := server.asked()
			if len(calls) != 2 {
				t.Fatalf("%s: %d calls", name, len(calls))
			}
			if pause := calls[1].at.Sub(calls[0].at); pause < 7*time.Second {
				t.Errorf("%s: it came back after %v", name, pause)
			}
		}
	})
}
