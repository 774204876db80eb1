package chatclient_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// A read ends at its end, even if streams break before, and even if the server does not
// know the header for the end.
func TestRead(t *testing.T) {
	t.Parallel()
	const e, f = "EPOCH", "OTHER"
	tests := []struct {
		name        string
		from, until chatclient.Position
		answers     []answer
		asked       []string // position and end of each call
		told        []string
		err         error
	}{
		{
			"a range", chatclient.At(e, 3), chatclient.At(e, 5),
			[]answer{{epoch: e, first: 3, until: 5, batch: []string{"a", "b"}, ends: true}},
			[]string{"3@EPOCH 5"}, []string{"open 3 lost 0", "3:a", "4:b"}, nil,
		}, {
			"to the end", chatclient.All(), chatclient.End(),
			[]answer{{epoch: e, first: 2, until: 4, batch: []string{"a", "b"}, ends: true}},
			[]string{"1 end"}, []string{"open 2 lost 0", "2:a", "3:b"}, nil,
		}, {
			"the last two", chatclient.Last(2), chatclient.End(),
			[]answer{{epoch: e, first: 2, until: 4, batch: []string{"a"}, err: errUnavailable}, {epoch: e, first: 3, until: 4, batch: []string{"b"}, ends: true}},
			[]string{"-2 end", "3@EPOCH 4"}, []string{"open 2 lost 0", "2:a", "open 3 lost 0", "3:b"}, nil,
		}, {
			"nothing", chatclient.End(), chatclient.End(),
			[]answer{{epoch: e, first: 4, until: 4, ends: true}},
			[]string{"end " + "end"}, []string{"open 4 lost 0"}, nil,
		}, {
			"a stream that ends too early", chatclient.At(e, 3), chatclient.At(e, 5),
			[]answer{{epoch: e, first: 3, until: 5, batch: []string{"a"}, ends: true}, {epoch: e, first: 4, until: 5, batch: []string{"b"}, ends: true}},
			[]string{"3@EPOCH 5", "4@EPOCH 5"}, []string{"open 3 lost 0", "3:a", "open 4 lost 0", "4:b"}, nil,
		}, {
			"a server that does not know the end", chatclient.At(e, 3), chatclient.At(e, 5),
			[]answer{{epoch: e, first: 3, batch: []string{"a", "b", "c"}}},
			[]string{"3@EPOCH 5"}, []string{"open 3 lost 0", "3:a", "4:b"}, nil,
		}, {
			"a server that cannot be asked for its end", chatclient.At(e, 3), chatclient.End(),
			[]answer{{epoch: e, first: 3, batch: []string{"a", "b", "c"}}, {epoch: e, first: 5}},
			[]string{"3@EPOCH end", "end "}, []string{"open 3 lost 0", "3:a", "4:b"}, nil,
		}, {
			"a server that cannot be asked for its end at first", chatclient.At(e, 3), chatclient.End(),
			[]answer{{epoch: e, first: 3, batch: []string{"a"}}, {err: errUnavailable}, {epoch: e, first: 3, batch: []string{"a"}}, {epoch: e, first: 4}},
			[]string{"3@EPOCH end", "end ", "3@EPOCH end", "end "}, []string{"open 3 lost 0", "open 3 lost 0", "3:a"}, nil,
		}, {
			"what is gone", chatclient.At(e, 3), chatclient.At(e, 5),
			[]answer{{epoch: e, first: 9, until: 5, ends: true}},
			[]string{"3@EPOCH 5"}, []string{"open 9 lost 6"}, nil,
		}, {
			"another epoch", chatclient.At(e, 3), chatclient.At(e, 5),
			[]answer{{epoch: f, first: 1, until: 5, ends: true}},
			[]string{"3@EPOCH 5"}, []string{"open 1 lost 0 new epoch"}, chatclient.ErrNewEpoch,
		}, {
			"another epoch than that of the end", chatclient.All(), chatclient.At(e, 5),
			[]answer{{epoch: f, first: 1, until: 5, ends: true}},
			[]string{"1 5"}, []string{"open 1 lost 0"}, chatclient.ErrNewEpoch,
		}, {
			"a log that went back", chatclient.At(e, 30), chatclient.At(e, 50),
			[]answer{{epoch: e, first: 1, until: 50, isReset: true, ends: true}},
			[]string{"30@EPOCH 50"}, []string{"open 1 lost 0 new epoch"}, chatclient.ErrNewEpoch,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				server := n.serveScript(t, "chat", test.answers...)
				var events []chatclient.Event
				err := n.client(t, "http://chat").Read(chattest.Context(t, patience), test.from, test.until, func(e chatclient.Event) error {
					events = append(events, e)
					return nil
				})
				if !errors.Is(err, test.err) {
					t.Errorf("read: %v, %v was due", err, test.err)
				}
				if got := contents(events); !slices.Equal(got, test.told) {
					t.Errorf("told %q, %q was due", got, test.told)
				}
				var asked []string
				for _, call := range server.asked() {
					asked = append(asked, call.position()+" "+call.header.Get(chatsvc.HeaderUntil))
				}
				if !slices.Equal(asked, test.asked) {
					t.Errorf("asked for %q, %q was due", asked, test.asked)
				}
			})
		})
	}
}

func TestReadRefusesEnds(t *testing.T) {
	t.Parallel()
	client, err := chatclient.New("http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, test := range []struct{ from, until chatclient.Position }{
		{chatclient.All(), chatclient.All()}, {chatclient.All(), chatclient.Last(3)}, {chatclient.At("A", 1), chatclient.At("B", 2)},
	} {
		err := client.Read(context.Background(), test.from, test.until, func(chatclient.Event) error { return nil })
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(test.until)) {
			t.Errorf("read to %v: %v", test.until, err)
		}
	}
}
