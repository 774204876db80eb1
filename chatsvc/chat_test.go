package chatsvc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

func TestEcho(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user1", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		if len(sub.Pending) > 0 {
			t.Fatalf("first batch of an empty history: %v", sub.Pending)
		}
		msg := text("grüß dich")
		msg.From, msg.Timestamp = "somebody else", 42
		send(ctx, t, client, msg)
		got := sub.Next()
		if string(got.GetContent()) != "grüß dich" || got.GetType() != chatpb.ChatMessage_Text {
			t.Errorf("message came back as %v", got)
		}
		if got.GetFrom() != "user1" {
			t.Errorf("from = %q, the authenticated user was due", got.GetFrom())
		}
		if got.GetTimestamp() != 42 {
			t.Errorf("timestamp = %d, the client's was due", got.GetTimestamp())
		}
		send(ctx, t, client, text("no timestamp"))
		if got := sub.Next(); got.GetTimestamp() < 1_700_000_000_000 {
			t.Errorf("timestamp = %d, the time of arrival in milliseconds was due", got.GetTimestamp())
		}
	})
}

func TestImagesArriveByteForByte(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user2", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		random := rand.NewChaCha8([32]byte{1})
		for _, size := range []int{0, 1, 15 << 10, 64 << 10, 300_000, chatsvc.DefaultMaxContent} {
			image := make([]byte, size)
			_, _ = random.Read(image)
			send(ctx, t, client, &chatpb.ChatMessage{Content: image, Type: chatpb.ChatMessage_Image})
			got := sub.Next()
			if !bytes.Equal(got.GetContent(), image) || got.GetType() != chatpb.ChatMessage_Image {
				t.Errorf("an image of %d bytes came back as %d others", size, len(got.GetContent()))
			}
		}
	})
}

// Subscribers join while others keep sending: each sees the history and then
// the live messages, all in the same order, without a gap or a duplicate.
func TestHistoryThenLive(t *testing.T) {
	t.Parallel()
	const senders, perSender, joiners = 4, 60, 4
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		var wg sync.WaitGroup
		for i := range senders {
			client := f.as(t, fmt.Sprintf("user%d", i+1), "qwerty")
			wg.Go(func() {
				for n := range perSender {
					if _, err := client.SendMessage(ctx, text(strconv.Itoa(n))); err != nil {
						t.Errorf("send: %v", err)
						return
					}
				}
			})
		}
		seen := make([][]string, joiners)
		for i := range joiners {
			sub := chattest.Subscribe(ctx, t, f.as(t, "user5", "qwerty"))
			wg.Go(func() { seen[i] = sub.Collect(senders * perSender) })
		}
		wg.Wait()
		for i, got := range seen {
			if !slices.Equal(got, seen[0]) {
				t.Errorf("subscriber %d saw another order than subscriber 0", i)
			}
		}
		checkEachOnce(t, seen[0], senders, perSender)
	})
}

// checkEachOnce checks that each of the senders user1 … has its messages 0 to
// perSender-1 in got, once and in the order in which it sent them.
func checkEachOnce(tb testing.TB, got []string, senders, perSender int) {
	tb.Helper()
	next := make(map[string]int)
	for _, message := range got {
		var from string
		var n int
		if _, err := fmt.Sscanf(message, "%s %d", &from, &n); err != nil {
			tb.Fatalf("message %q: %v", message, err)
		}
		if n != next[from] {
			tb.Fatalf("message %d of %s came where %d was due", n, from, next[from])
		}
		next[from]++
	}
	for i := range senders {
		if from := fmt.Sprintf("user%d", i+1); next[from] != perSender {
			tb.Errorf("%d messages of %s came, %d were sent", next[from], from, perSender)
		}
	}
}

// 16 subscribers send 128 messages each: all see all of them in one order.
func TestAllSeenByAllInOneOrder(t *testing.T) {
	t.Parallel()
	const clients, messages = 16, 128
	users := &chatpb.Users{}
	for i := range clients {
		users.Users = append(users.Users, &chatpb.User{Name: fmt.Sprintf("user%d", i+1), Password: "p"})
	}
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		seen := make([][]string, clients)
		var wg sync.WaitGroup
		for i := range clients {
			client := f.as(t, fmt.Sprintf("user%d", i+1), "p")
			sub := chattest.Subscribe(ctx, t, client)
			wg.Go(func() { seen[i] = sub.Collect(clients * messages) })
			wg.Go(func() {
				for n := range messages {
					if _, err := client.SendMessage(ctx, text(strconv.Itoa(n))); err != nil {
						t.Errorf("send: %v", err)
						return
					}
				}
			})
		}
		wg.Wait()
		for i, got := range seen {
			if !slices.Equal(got, seen[0]) {
				t.Errorf("subscriber %d saw another order than subscriber 0", i)
			}
		}
		checkEachOnce(t, seen[0], clients, messages)
	}, chatsvc.WithUsers(users))
}

func TestShutdownEndsStreams(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user1", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		send(ctx, t, client, text("last words"))
		f.service.Close()
		if got := sub.Next(); string(got.GetContent()) != "last words" {
			t.Errorf("got %q, what was acknowledged before the end was due", got.GetContent())
		}
		if sub.Stream.Receive() {
			t.Errorf("a batch after the end: %v", sub.Stream.Msg())
		}
		if code := connect.CodeOf(sub.Stream.Err()); code != connect.CodeUnavailable {
			t.Errorf("stream ended with %v: %v", code, sub.Stream.Err())
		}
		if _, err := client.SendMessage(ctx, text("too late")); connect.CodeOf(err) != connect.CodeUnavailable {
			t.Errorf("send after the end: %v", err)
		}
		if err := f.service.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// receiveError calls messageList and returns the error it ends with, at the
// latest after its first batch.
func receiveError(ctx context.Context, client interface {
	MessageList(ctx context.Context, none *chatpb.None) (*connect.ServerStreamForClient[chatpb.ChatMessages], error)
}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }()
	if stream.Receive() {
		return errors.New("the call was not refused")
	}
	return stream.Err()
}

func header(pairs ...string) http.Header {
	h := http.Header{"User-Name": {"user1"}, "User-Password": {"qwerty"}}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}
