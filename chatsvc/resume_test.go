package chatsvc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Ten messages are sent, the last six are retained: offsets 5 to 10.
func TestOffsets(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		offset string
		epoch  string // "current" stands for the log's own
		first  string // the answer's Chat-Offset
		want   string // content of the first message
	}{
		{"all", "", "", "5", "m5"},
		{"zero", "0", "", "5", "m5"},
		{"from a retained one", "7", "", "7", "m7"},
		{"from a retained one of this epoch", "7", "current", "7", "m7"},
		{"from one of another epoch", "7", "another", "5", "m5"},
		{"from one that is gone", "2", "current", "5", "m5"},
		{"the next", "11", "current", "11", "live"},
		{"beyond the next", "99", "current", "5", "m5"},
		{"beyond the next of any epoch", "99", "", "11", "live"},
		{"the last two", "-2", "", "9", "m9"},
		{"more than there are", "-99", "", "5", "m5"},
		{"the last one whatever the epoch", "-1", "another", "10", "m10"},
		{"only new", "end", "", "11", "live"},
		{"an epoch alone", "", "another", "5", "m5"},
	}
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user1", "qwerty")
		var epoch string
		for n := range 10 {
			callCtx, call := connect.NewClientContext(ctx)
			send(callCtx, t, client, text(fmt.Sprintf("m%d", n+1)))
			if got := call.ResponseHeader().Get("Chat-Offset"); got != fmt.Sprint(n+1) {
				t.Errorf("message %d has the offset %q", n+1, got)
			}
			epoch = call.ResponseHeader().Get("Chat-Epoch")
		}
		var subs []*chattest.Subscription
		for _, test := range tests {
			h := header()
			if test.offset != "" {
				h.Set("Chat-Offset", test.offset)
			}
			if test.epoch == "current" {
				test.epoch = epoch
			}
			if test.epoch != "" {
				h.Set("Chat-Epoch", test.epoch)
			}
			sub := chattest.Subscribe(ctx, t, f.with(t, h))
			if got := sub.Stream.ResponseHeader().Get("Chat-Offset"); got != test.first {
				t.Errorf("%s: Chat-Offset: %s, %s was due", test.name, got, test.first)
			}
			if got := sub.Stream.ResponseHeader().Get("Chat-Epoch"); got != epoch || got == "" {
				t.Errorf("%s: Chat-Epoch: %q, sends answer %q", test.name, got, epoch)
			}
			if got, due := sub.Stream.ResponseHeader().Get("Chat-Reset") == "true", test.name == "beyond the next"; got != due {
				t.Errorf("%s: Chat-Reset: %v, %v was due", test.name, got, due)
			}
			subs = append(subs, sub)
		}
		send(ctx, t, client, text("live"))
		for i, test := range tests {
			if got := string(subs[i].Next().GetContent()); got != test.want {
				t.Errorf("%s: first message %q, %q was due", test.name, got, test.want)
			}
		}
	}, chatsvc.WithRetention(chatsvc.Retention{Messages: 6}))
}

// Ten messages are sent; streams end where they were asked to.
func TestUntil(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                 string
		offset, epoch, until string
		echo                 string // the answer's Chat-Until
		contents             string
		isReset              bool
	}{
		{"a range", "4", "", "7", "7", "4 5 6", false},
		{"all", "", "", "end", "11", "1 2 3 4 5 6 7 8 9 10", false},
		{"the last two", "-2", "", "end", "11", "9 10", false},
		{"nothing", "end", "", "end", "11", "", false},
		{"below the start", "5", "", "1", "1", "", false},
		{"another epoch", "4", "another", "7", "7", "", false},
		{"another epoch to the end", "", "another", "end", "11", "", false},
		{"beyond the end of this epoch", "20", "current", "30", "30", "", true},
	}
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		var epoch string
		for n := range 10 {
			callCtx, call := connect.NewClientContext(ctx)
			send(callCtx, t, f.as(t, "user1", "qwerty"), text(fmt.Sprint(n+1)))
			epoch = call.ResponseHeader().Get("Chat-Epoch")
		}
		for _, test := range tests {
			h := header("Chat-Until", test.until)
			if test.offset != "" {
				h.Set("Chat-Offset", test.offset)
			}
			if test.epoch == "current" {
				test.epoch = epoch
			}
			if test.epoch != "" {
				h.Set("Chat-Epoch", test.epoch)
			}
			stream, err := f.with(t, h).MessageList(ctx, &chatpb.None{})
			if err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
			var got []string
			batches := 0
			for ; stream.Receive(); batches++ {
				for _, m := range stream.Msg().GetMessages() {
					got = append(got, string(m.GetContent()))
				}
			}
			endsAtOnce := test.isReset || test.epoch == "another"
			if err := stream.Err(); err != nil || strings.Join(got, " ") != test.contents || batches == 0 != endsAtOnce {
				t.Errorf("%s: %d batches, messages %q, %v", test.name, batches, got, err)
			}
			header := stream.ResponseHeader()
			if header.Get("Chat-Until") != test.echo || header.Get("Chat-Epoch") != epoch || header.Get("Chat-Reset") == "true" != test.isReset {
				t.Errorf("%s: header %v", test.name, header)
			}
		}
		for _, bad := range []string{"-1", "x", "1.5", "18446744073709551616", ""} {
			if err := receiveError(ctx, f.with(t, header("Chat-Until", bad))); connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("Chat-Until: %q: %v", bad, err)
			}
		}
		sub := chattest.Subscribe(ctx, t, f.with(t, header("Chat-Until", "12", "Chat-Offset", "10")))
		send(ctx, t, f.as(t, "user1", "qwerty"), text("11"))
		for _, want := range []string{"10", "11"} {
			if got := string(sub.Next().GetContent()); got != want {
				t.Errorf("message %q, %q was due", got, want)
			}
		}
		if sub.Stream.Receive() || sub.Stream.Err() != nil {
			t.Errorf("after the last message: %v, %v", sub.Stream.Msg(), sub.Stream.Err())
		}
	})
}

// A subscriber that asks for no offset gets the replay, one that does all.
func TestReplayIsForThoseThatAskForNothing(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		for n := range 10 {
			send(ctx, t, f.as(t, "user1", "qwerty"), text(fmt.Sprint(n+1)))
		}
		for offset, want := range map[string]string{"": "8", "1": "1", "-5": "6"} {
			h := header()
			if offset != "" {
				h.Set("Chat-Offset", offset)
			}
			if got := string(chattest.Subscribe(ctx, t, f.with(t, h)).Next().GetContent()); got != want {
				t.Errorf("Chat-Offset %q: begins with %s, %s was due", offset, got, want)
			}
		}
	}, chatsvc.WithReplay(chatsvc.Replay{Messages: 3}))
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	users := chatsvc.DemoUsers()
	users.Users = append(users.Users, &chatpb.User{Name: "user10", Password: "p"})
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		keyed := f.with(t, header("Idempotency-Key", "k1"))
		const racers = 8
		var mu sync.Mutex
		offsets, stored := make(map[string]bool), 0
		var wg sync.WaitGroup
		for range racers {
			wg.Go(func() {
				callCtx, call := connect.NewClientContext(ctx)
				if _, err := keyed.SendMessage(callCtx, text("once")); err != nil {
					t.Errorf("send: %v", err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				offsets[call.ResponseHeader().Get("Chat-Offset")] = true
				if call.ResponseHeader().Get("Chat-Duplicate") == "" {
					stored++
				}
			})
		}
		wg.Wait()
		if len(offsets) != 1 || stored != 1 {
			t.Errorf("%d sends with one key: offsets %v, %d not marked as duplicates", racers, offsets, stored)
		}
		other := header("Idempotency-Key", "k1")
		other.Set("User-Name", "user2")
		send(ctx, t, f.with(t, other), text("another user's"))
		send(ctx, t, f.with(t, header("Idempotency-Key", "k2")), text("another key's"))
		// "user1" + "0key" and "user10" + "key" are the same letters.
		send(ctx, t, f.with(t, header("Idempotency-Key", "0key")), text("user1's 0key"))
		send(ctx, t, f.with(t, http.Header{"User-Name": {"user10"}, "User-Password": {"p"}, "Idempotency-Key": {"key"}}), text("user10's key"))
		sub := chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty"))
		for _, want := range []string{"once", "another user's", "another key's", "user1's 0key", "user10's key"} {
			if got := string(sub.Next().GetContent()); got != want {
				t.Errorf("message %q where %q was due", got, want)
			}
		}
	}, chatsvc.WithUsers(users))
}

func TestRetention(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		retention chatsvc.Retention
		want      string // the oldest of ten messages of 1,000 bytes that is left
	}{
		{"default", chatsvc.DefaultRetention(), "1"},
		{"none", chatsvc.Retention{}, "1"},
		{"three messages", chatsvc.Retention{Messages: 3}, "8"},
		{"one message", chatsvc.Retention{Messages: 1}, "10"},
		{"bytes for four", chatsvc.Retention{Bytes: 4_200}, "7"},
		{"messages or bytes", chatsvc.Retention{Messages: 2, Bytes: 4_200}, "9"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t, chatsvc.WithRetention(test.retention))
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			f := face{service: svc, server: newServer(t, mux, transports[0]), protocol: wireProtocols[0]}
			client := f.as(t, "user1", "qwerty")
			live := chattest.Subscribe(ctx, t, client)
			for n := range 10 {
				send(ctx, t, client, text(fmt.Sprintf("%-1000d", n+1)))
			}
			for n := range 10 { // a subscriber that keeps up misses nothing, however little is retained
				if got := string(live.Next().GetContent()); got != fmt.Sprintf("%-1000d", n+1) {
					t.Fatalf("live message %.8q where %d was due", got, n+1)
				}
			}
			var got string
			if _, err := fmt.Sscan(string(chattest.Subscribe(ctx, t, client).Next().GetContent()), &got); err != nil || got != test.want {
				t.Errorf("the oldest message is %q (%v), %q was due", got, err, test.want)
			}
		})
	}
}

// brokenLog is a log that cannot store.
type brokenLog struct {
	*chatsvc.MemoryLog

	err error
}

func (l *brokenLog) Append(context.Context, []byte, string) (chatsvc.Appended, error) {
	return chatsvc.Appended{}, l.err
}

func TestLogCannotStore(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		code connect.Code
		text string
	}{
		{"unknown error", errors.New("disk sda1 is on fire"), connect.CodeUnavailable, "send it again"},
		{"coded error", connect.NewError(connect.CodeResourceExhausted, errors.New("the disk is full")), connect.CodeResourceExhausted, "the disk is full"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			log := &brokenLog{chatsvc.NewMemoryLog(chatsvc.Retention{}), test.err}
			forEachFace(t, func(t *testing.T, f face) {
				ctx := chattest.Context(t, patience)
				client := f.as(t, "user1", "qwerty")
				sub := chattest.Subscribe(ctx, t, client)
				_, err := client.SendMessage(ctx, text("lost"))
				if connect.CodeOf(err) != test.code || !contains(err, test.text) || contains(err, "sda1") {
					t.Errorf("send: %v", err)
				}
				f.service.Close()
				if sub.Stream.Receive() {
					t.Errorf("delivered although it was not stored: %v", sub.Stream.Msg())
				}
			}, chatsvc.WithLog(log))
		})
	}
}

// unreadableLog is a log that cannot be asked where its last bytes begin.
type unreadableLog struct{ *chatsvc.MemoryLog }

func (l *unreadableLog) LastBytes(context.Context, string, int64) (uint64, error) {
	return 0, errors.New("disk sda1 is on fire")
}

// A subscriber whose history cannot be read is told so, and to call again; the cause is
// for the server's log alone.
func TestLogCannotBeRead(t *testing.T) {
	t.Parallel()
	log := &unreadableLog{chatsvc.NewMemoryLog(chatsvc.Retention{})}
	for n := range 10 {
		appendTo(t, log, fmt.Sprint(n), "")
	}
	forEachFace(t, func(t *testing.T, f face) {
		err := receiveError(chattest.Context(t, patience), f.as(t, "user1", "qwerty"))
		if connect.CodeOf(err) != connect.CodeUnavailable || !contains(err, "call messageList again") || contains(err, "sda1") {
			t.Errorf("subscribe: %v", err)
		}
	}, chatsvc.WithLog(log))
}

// Each subscriber is told the heartbeat, in seconds.
func TestHeartbeatIsAnnounced(t *testing.T) {
	t.Parallel()
	for heartbeat, want := range map[time.Duration]string{chatsvc.DefaultHeartbeat: "25", 1500 * time.Millisecond: "1.5", 0: "0"} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			forEachFace(t, func(t *testing.T, f face) {
				sub := chattest.Subscribe(chattest.Context(t, patience), t, f.as(t, "user1", "qwerty"))
				if got := sub.Stream.ResponseHeader().Values("Chat-Heartbeat"); !slices.Equal(got, []string{want}) {
					t.Errorf("%q, %q was due", got, want)
				}
			}, chatsvc.WithHeartbeat(heartbeat))
		})
	}
}
