package chatclient_test

import (
	"encoding/json"
	"slices"
	"testing"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// Sent messages arrive over every protocol, and a stored position resumes after them.
func TestSendAndFollow(t *testing.T) {
	t.Parallel()
	forEachProtocol(t, func(t *testing.T, protocol chatclient.Protocol) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat")
		client := n.client(t, "http://chat", chatclient.WithProtocol(protocol))
		sendAll(ctx, t, client, "one", "two", "three")
		events := follow(ctx, t, client, chatclient.All(), 2)
		if got, want := contents(events), []string{"open 1 lost 0", "1:one", "2:two"}; !slices.Equal(got, want) {
			t.Errorf("from the beginning: %v, %v was due", got, want)
		}
		stored, err := json.Marshal(events[2].Next())
		if err != nil {
			t.Fatal(err)
		}
		var position chatclient.Position
		if err := json.Unmarshal(stored, &position); err != nil {
			t.Fatal(err)
		}
		events = follow(ctx, t, client, position, 1)
		if got, want := contents(events), []string{"open 3 lost 0", "3:three"}; !slices.Equal(got, want) {
			t.Errorf("from %s: %v, %v was due", stored, got, want)
		}
	})
}
