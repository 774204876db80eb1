package chatclient_test

import (
	"encoding/json"
	"slices"
	"testing"
	"testing/synctest"

	"example.com/simplechat/chatsvc/chatclient"
)

var protocols = []chatclient.Protocol{chatclient.GRPC, chatclient.GRPCWeb, chatclient.Connect}

// What is sent arrives, over every protocol, and a position that was stored
// goes on behind it.
func TestSendAndFollow(t *testing.T) {
	t.Parallel()
	for _, protocol := range protocols {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx := testContext(t)
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
		})
	}
}
