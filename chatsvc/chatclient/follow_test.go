package chatclient_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
)

// Where a stream begins, and where the next one does after it ended.
func TestPositions(t *testing.T) {
	t.Parallel()
	const e, f = "EPOCH", "OTHER"
	tests := []struct {
		name    string
		from    chatclient.Position
		answers []answer
		asked   []string // the positions, one a call
		told    []string
	}{
		{
			"all, ended before the first batch", chatclient.All(),
			[]answer{{epoch: e, first: 5, err: errUnavailable}, {epoch: e, first: 5, batch: []string{"a"}}},
			[]string{"1", "5@EPOCH"},
			[]string{"open 5 lost 0", "open 5 lost 0", "5:a"},
		}, {
			"end, ended before the first batch", chatclient.End(),
			[]answer{{epoch: e, first: 11, err: errUnavailable}, {epoch: e, first: 11, batch: []string{"a"}}},
			[]string{"end", "11@EPOCH"},
			[]string{"open 11 lost 0", "open 11 lost 0", "11:a"},
		}, {
			"end, ended before the headers", chatclient.End(),
			[]answer{{err: errUnavailable}, {epoch: e, first: 12, batch: []string{"a"}}},
			[]string{"end", "end"},
			[]string{"open 12 lost 0", "12:a"},
		}, {
			"the last two, of which one is gone when it resumes", chatclient.Last(2),
			[]answer{{epoch: e, first: 9, err: errUnavailable}, {epoch: e, first: 10, batch: []string{"a"}}},
			[]string{"-2", "9@EPOCH"},
			[]string{"open 9 lost 0", "open 10 lost 1", "10:a"},
		}, {
			"the last none", chatclient.Last(0),
			[]answer{{epoch: e, first: 9, batch: []string{"a"}}},
			[]string{"end"},
			[]string{"open 9 lost 0", "9:a"},
		}, {
			"a server that is behind", chatclient.At(e, 7),
			[]answer{{epoch: e, first: 5, batch: []string{"no", "no", "a"}}},
			[]string{"7@EPOCH"},
			[]string{"open 7 lost 0", "7:a"},
		}, {
			"a server that falls behind", chatclient.At(e, 7),
			[]answer{{epoch: e, first: 7, batch: []string{"a", "b"}, err: errUnavailable}, {epoch: e, first: 8, batch: []string{"no", "c"}}},
			[]string{"7@EPOCH", "9@EPOCH"},
			[]string{"open 7 lost 0", "7:a", "8:b", "open 9 lost 0", "9:c"},
		}, {
			"retained out", chatclient.At(e, 7),
			[]answer{{epoch: e, first: 10, batch: []string{"a"}}},
			[]string{"7@EPOCH"},
			[]string{"open 10 lost 3", "10:a"},
		}, {
			"retained out in between", chatclient.All(),
			[]answer{{epoch: e, first: 1, batch: []string{"a"}, err: errUnavailable}, {epoch: e, first: 4, batch: []string{"d"}}},
			[]string{"1", "2@EPOCH"},
			[]string{"open 1 lost 0", "1:a", "open 4 lost 2", "4:d"},
		}, {
			"from zero", chatclient.At(e, 0),
			[]answer{{epoch: e, first: 4, batch: []string{"a"}}},
			[]string{"0@EPOCH"},
			[]string{"open 4 lost 3", "4:a"},
		}, {
			"another epoch", chatclient.At(e, 7),
			[]answer{{epoch: f, first: 3, batch: []string{"a"}}},
			[]string{"7@EPOCH"},
			[]string{"open 3 lost 2 new epoch", "3:a"},
		}, {
			"another epoch in between", chatclient.End(),
			[]answer{{epoch: e, first: 7, batch: []string{"a"}, err: errUnavailable}, {epoch: f, first: 1, batch: []string{"b"}}},
			[]string{"end", "8@EPOCH"},
			[]string{"open 7 lost 0", "7:a", "open 1 lost 0 new epoch", "1:b"},
		}, {
			"a replica that has not heard of the new epoch", chatclient.At(e, 7),
			[]answer{
				{epoch: f, first: 1, batch: []string{"a"}, err: errUnavailable},
				{epoch: e, first: 5, batch: []string{"no", "no", "b"}, err: errUnavailable},
				{epoch: f, first: 1, batch: []string{"no", "c"}},
			},
			[]string{"7@EPOCH", "2@OTHER", "8@EPOCH"},
			[]string{"open 1 lost 0 new epoch", "1:a", "open 7 lost 0 new epoch", "7:b", "open 2 lost 0 new epoch", "2:c"},
		}, {
			"a log that went back", chatclient.At(e, 7),
			[]answer{{epoch: e, first: 2, isReset: true, batch: []string{"a"}, err: errUnavailable}, {epoch: e, first: 3, batch: []string{"b"}}},
			[]string{"7@EPOCH", "3@EPOCH"},
			[]string{"open 2 lost 1 new epoch", "2:a", "open 3 lost 0", "3:b"},
		}, {
			"an offset of any epoch", chatclient.At("", 7),
			[]answer{{epoch: e, first: 6, batch: []string{"no", "a"}, err: errUnavailable}, {epoch: e, first: 9, batch: []string{"b"}}},
			[]string{"7", "8@EPOCH"},
			[]string{"open 7 lost 0", "7:a", "open 9 lost 1", "9:b"},
		}, {
			"a removed offset of any epoch", chatclient.At("", 7),
			[]answer{{epoch: e, first: 9, batch: []string{"b"}}},
			[]string{"7"},
			[]string{"open 9 lost 2", "9:b"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				server := n.serveScript(t, "chat", test.answers...)
				want := 0
				for _, told := range test.told {
					if !strings.HasPrefix(told, "open") {
						want++
					}
				}
				events := follow(chattest.Context(t, patience), t, n.client(t, "http://chat"), test.from, want)
				if got := contents(events); !slices.Equal(got, test.told) {
					t.Errorf("told %q, %q was due", got, test.told)
				}
				var asked []string
				for _, call := range server.asked() {
					asked = append(asked, call.position())
				}
				if !slices.Equal(asked, test.asked) {
					t.Errorf("asked for %q, %q was due", asked, test.asked)
				}
			})
		})
	}
}

// A server that refuses is not asked again; one that cannot now is.
func TestFollowErrors(t *testing.T) {
	t.Parallel()
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		t.Run(code.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				server := n.serveScript(t, "chat", answer{err: connect.NewError(code, errors.New("because"))}, answer{epoch: "E", first: 1})
				err := n.client(t, "http://chat").Follow(chattest.Context(t, patience), chatclient.All(), func(chatclient.Event) error { return errEnough })
				switch calls := len(server.asked()); calls {
				case 1:
					if !isRefusal(code) || connect.CodeOf(err) != code || !strings.Contains(err.Error(), "because") {
						t.Errorf("after one call: %v", err)
					}
				default:
					if isRefusal(code) || !errors.Is(err, errEnough) {
						t.Errorf("after %d calls: %v", calls, err)
					}
				}
			})
		})
	}
}

// isRefusal reports whether another call would be refused as well.
func isRefusal(code connect.Code) bool {
	switch code {
	case connect.CodeCanceled, connect.CodeUnknown, connect.CodeDeadlineExceeded, connect.CodeAborted,
		connect.CodeInternal, connect.CodeUnavailable, connect.CodeDataLoss:
		return false
	default:
		return true
	}
}

// Without offsets everything would come again after each pause.
func TestFollowNeedsOffsets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		server := n.serveScript(t, "chat", answer{batch: []string{"a"}})
		err := n.client(t, "http://chat").Follow(chattest.Context(t, patience), chatclient.All(), func(e chatclient.Event) error {
			t.Errorf("told %v", e)
			return nil
		})
		if err == nil || !strings.Contains(err.Error(), "the server does not tell offsets") || len(server.asked()) != 1 {
			t.Errorf("after %d calls: %v", len(server.asked()), err)
		}
	})
}

// Follow ends with its context, also while it pauses or waits, and with any error of its
// caller.
func TestFollowEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		ignore := func(chatclient.Event) error { return nil }
		for _, a := range []answer{{err: errUnavailable}, {hang: true}, {epoch: "E", first: 1}} {
			n.serveScript(t, "chat", a)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := n.client(t, "http://chat").Follow(ctx, chatclient.All(), ignore); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%+v: %v", a, err)
			}
		}
		n.serveScript(t, "chat", answer{epoch: "E", first: 1, batch: []string{"a"}})
		for _, due := range []error{errEnough, context.Canceled, errUnavailable} {
			err := n.client(t, "http://chat").Follow(chattest.Context(t, patience), chatclient.All(), func(e chatclient.Event) error {
				if e.Message == nil {
					return nil
				}
				return due
			})
			if err != due { //nolint:errorlint // the caller's own, not one that wraps it
				t.Errorf("%v where %v was due", err, due)
			}
		}
	})
}

// Heartbeats keep an idle stream for hours; without them it is cut and resumed.
func TestSilence(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		heartbeat time.Duration
		silence   time.Duration
		resumed   bool
	}{
		{"heartbeats", chatsvc.DefaultHeartbeat, chatclient.DefaultSilence, false},
		{"no heartbeats", 0, chatclient.DefaultSilence, true},
		{"heartbeats that are too rare", time.Minute, 30 * time.Second, true},
		{"any silence", 0, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			forEachProtocol(t, func(t *testing.T, protocol chatclient.Protocol) {
				n := newNetwork()
				n.serveChat(t, "chat", chatsvc.WithHeartbeat(test.heartbeat))
				client := n.client(t, "http://chat", chatclient.WithSilence(test.silence), chatclient.WithProtocol(protocol))
				opened := 0
				ctx, cancel := context.WithTimeout(t.Context(), 6*time.Hour)
				defer cancel()
				_ = client.Follow(ctx, chatclient.All(), func(chatclient.Event) error { opened++; return nil })
				if (opened > 1) != test.resumed {
					t.Errorf("opened %d times in six hours", opened)
				}
			})
		})
	}
}

// A server that takes a call and never answers, or answers without a first
// batch, is left for the next one.
func TestServerThatHangs(t *testing.T) {
	t.Parallel()
	for _, a := range []answer{{hang: true}, {hang: true, epoch: "E", first: 1}} {
		synctest.Test(t, func(t *testing.T) {
			ctx := chattest.Context(t, patience)
			n := newNetwork()
			n.serveScript(t, "stuck", a)
			n.serveScript(t, "chat", answer{epoch: "E", first: 1, batch: []string{"a"}})
			sent, err := n.client(t, "http://stuck,http://chat").SendText(ctx, "a")
			if a.epoch == "" && (err != nil || sent.Offset != 1) {
				t.Errorf("send: %+v, %v", sent, err)
			}
			client := n.client(t, "http://stuck, http://chat")
			if got := contents(records(follow(ctx, t, client, chatclient.All(), 1))); !slices.Equal(got, []string{"1:a"}) {
				t.Errorf("told %v", got)
			}
		})
	}
}

// slowConn is a connection that takes 40 KB a second, and brings 4.
type slowConn struct {
	net.Conn

	uploads bool // are slow too: net/http's HTTP/2 writes under a lock, behind which a bubble's time stands still
	closed  chan struct{}
	close   func()
}

func (c *slowConn) Read(p []byte) (int, error) {
	return c.slow(c.Conn.Read, p[:min(len(p), 1000)], 4_000)
}

func (c *slowConn) Write(p []byte) (int, error) {
	if !c.uploads {
		return c.Conn.Write(p)
	}
	return c.slow(c.Conn.Write, p, 40_000)
}

func (c *slowConn) slow(carry func([]byte) (int, error), p []byte, bytesPerSecond time.Duration) (int, error) {
	n, err := carry(p)
	select {
	case <-time.After(time.Duration(n) * time.Second / bytesPerSecond):
		return n, err
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *slowConn) Close() error {
	c.close()
	return c.Conn.Close()
}

// A large message over a slow network is no silence, and is given time.
func TestSlowNetwork(t *testing.T) {
	t.Parallel()
	forEachProtocol(t, func(t *testing.T, protocol chatclient.Protocol) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat", chatsvc.WithWriteDeadline(time.Hour))
		if _, err := n.client(t, "http://chat").SendImage(ctx, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		n.wrap = func(c net.Conn) net.Conn {
			closed := make(chan struct{})
			return &slowConn{Conn: c, uploads: protocol != chatclient.GRPC, closed: closed, close: sync.OnceFunc(func() { close(closed) })}
		}
		client := n.client(t, "http://chat", chatclient.WithProtocol(protocol))
		events := follow(ctx, t, client, chatclient.All(), 1)
		if opened := len(events) - 1; opened != 1 {
			t.Errorf("opened %d times", opened)
		}
		if sent, err := client.SendImage(ctx, make([]byte, 1<<20)); err != nil || sent.Duplicate {
			t.Errorf("send: %+v, %v", sent, err)
		}
	})
}

// A caller that takes its time is cut by the server, and resumed.
func TestSlowCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat", chatsvc.WithWriteDeadline(time.Second))
		client := n.client(t, "http://chat")
		const count = 12 // more than a stream's window of 4 MiB
		for range count {
			if _, err := client.SendImage(ctx, make([]byte, 1<<20)); err != nil {
				t.Fatal(err)
			}
		}
		due := uint64(1)
		opened := 0
		err := client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
			if e.Message == nil {
				opened++
				return nil
			}
			if e.Offset != due {
				t.Errorf("offset %d where %d was due", e.Offset, due)
			}
			if due++; due > count {
				return errEnough
			}
			time.Sleep(2 * time.Minute) // of the bubble's: longer than any limit
			return nil
		})
		if !errors.Is(err, errEnough) || opened < 2 {
			t.Errorf("opened %d times: %v", opened, err)
		}
	})
}

// The time that a caller takes for a record does not count as silence of the server.
func TestSlowCallerIsNotSilence(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx := chattest.Context(t, patience)
		n := newNetwork()
		n.serveChat(t, "chat")
		client := n.client(t, "http://chat")
		sendAll(ctx, t, client, "one", "two")
		var got []string
		err := client.Follow(ctx, chatclient.All(), func(e chatclient.Event) error {
			got = append(got, contents([]chatclient.Event{e})...)
			time.Sleep(time.Hour)
			switch e.Offset {
			case 2:
				sendAll(ctx, t, client, "three")
			case 3:
				return errEnough
			}
			return nil
		})
		if want := []string{"open 1 lost 0", "1:one", "2:two", "3:three"}; !errors.Is(err, errEnough) || !slices.Equal(got, want) {
			t.Errorf("told %q, %q was due: %v", got, want, err)
		}
	})
}
