package chatclient_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// Pauses grow up to a bound, differ from client to client, and are short again
// after a success.
func TestBackoff(t *testing.T) {
	t.Parallel()
	const shortest, longest, failures = 100 * time.Millisecond, time.Second, 8
	pauses := func(t *testing.T) (got []time.Duration) {
		t.Helper()
		answers := slices.Repeat([]answer{{err: errUnavailable}}, failures)
		answers = append(answers, answer{epoch: "E", first: 1, batch: []string{"a"}, err: errUnavailable}, answer{epoch: "E", first: 2, batch: []string{"b"}})
		n := newNetwork()
		server := n.serveScript(t, "chat", answers...)
		follow(chattest.Context(t, patience), t, n.client(t, "http://chat", chatclient.WithBackoff(shortest, longest)), chatclient.All(), 2)
		calls := server.asked()
		for i := range calls[1:] {
			got = append(got, calls[i+1].at.Sub(calls[i].at))
		}
		return got
	}
	synctest.Test(t, func(t *testing.T) {
		first := pauses(t)
		for i, pause := range first {
			due := min(shortest<<i, longest)
			if i == failures {
				due = shortest
			}
			if pause > due || pause < due/2 {
				t.Errorf("pause %d is %v, about %v was due", i, pause, due)
			}
		}
		if second := pauses(t); slices.Equal(first, second) {
			t.Errorf("two clients pause for %v", first)
		}
	})
}

// However long there is no server, the pauses stay bounded.
func TestBackoffIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		time.AfterFunc(3*time.Hour, func() { n.serveScript(t, "chat", answer{epoch: "E", first: 1}) })
		client := n.client(t, "http://chat")
		began := time.Now()
		err := client.Follow(chattest.Context(t, patience), chatclient.All(), func(chatclient.Event) error { return errEnough })
		if late := time.Since(began.Add(3 * time.Hour)); late > 5*time.Second || late < 0 {
			t.Errorf("%v late: %v", late, err)
		}
	})
}

// The caller is told of each attempt that failed, with the reason and the pause that follows.
func TestRetryObserver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		server := n.serveScript(t, "chat", answer{err: errUnavailable}, answer{epoch: "E", first: 1, batch: []string{"a"}, err: errUnavailable},
			answer{epoch: "E", first: 2, batch: []string{"b"}})
		var due []time.Time
		follow(chattest.Context(t, patience), t, n.client(t, "http://chat", chatclient.WithRetryObserver(func(r chatclient.Retry) {
			if connect.CodeOf(r.Err) != connect.CodeUnavailable || r.Server != "http://chat" || !r.IsFollow {
				t.Errorf("told %+v", r)
			}
			due = append(due, time.Now().Add(r.Pause))
		})), chatclient.All(), 2)
		calls := server.asked()
		if len(calls) != 3 || len(due) != 2 || !calls[1].at.Equal(due[0]) || !calls[2].at.Equal(due[1]) {
			t.Errorf("attempts %v, announced for %v", calls, due)
		}
	})
}
