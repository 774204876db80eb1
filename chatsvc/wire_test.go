package chatsvc_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// filledLog returns a log that holds one message of each of the sizes, with its
// number in decimal digits in front.
func filledLog(tb testing.TB, sizes []int) chatsvc.Log {
	tb.Helper()
	log := chatsvc.NewMemoryLog(chatsvc.Retention{})
	for i, size := range sizes {
		record := encoded(tb, &chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{numbered(i, size)}})
		if _, err := log.Append(tb.Context(), record, ""); err != nil {
			tb.Fatal(err)
		}
	}
	return log
}

// numbered returns an image of size bytes, at least 8, that begins with n.
func numbered(n, size int) *chatpb.ChatMessage {
	content := fmt.Appendf(make([]byte, 0, size), "%08d", n)
	return &chatpb.ChatMessage{
		Timestamp: 1_700_000_000_000,
		Content:   content[:size],
		Type:      chatpb.ChatMessage_Image,
		From:      "user1",
	}
}

// checkNumbered checks that msg is what numbered made.
func checkNumbered(tb testing.TB, msg *chatpb.ChatMessage, n, size int) {
	tb.Helper()
	if !bytes.Equal(msg.GetContent(), numbered(n, size).GetContent()) {
		tb.Fatalf("a message of %d bytes that begins with %.8q, number %d of %d bytes was due", len(msg.GetContent()), msg.GetContent(), n, size)
	}
}

// repeat returns n times v.
func repeat(n, v int) []int {
	values := make([]int, n)
	for i := range values {
		values[i] = v
	}
	return values
}

// Point 1: a client counts itself connected at the first complete message.
func TestWireFirstMessageLeavesAtOnce(t *testing.T) {
	t.Parallel()
	forEachQt(t, func(t *testing.T, w wire) {
		stream := w.dial(t).call(pathList, emptyBatch)
		stream.mustAnswer()
		if frame := stream.mustNext(); !bytes.Equal(frame.data, emptyBatch) || frame.end {
			t.Errorf("behind the headers came %+v, one DATA frame with an empty message was due", frame)
		}
		ctx, client := chattest.Context(t, patience), w.as(t, "user2", "qwerty")
		for _, content := range []string{"one", "two"} {
			send(ctx, t, client, text(content))
		}
		stream = w.dial(t).call(pathList, emptyBatch)
		stream.mustAnswer()
		frame := stream.mustNext()
		var batch chatpb.ChatMessages
		if len(frame.data) < prefixBytes || proto.Unmarshal(frame.data[prefixBytes:], &batch) != nil || !bytes.Equal(frame.data, envelope(frame.data[prefixBytes:])) {
			t.Fatalf("behind the headers came %+v, one DATA frame with the whole history was due", frame)
		}
		if got := batch.GetMessages(); len(got) != 2 || string(got[0].GetContent()) != "one" || string(got[1].GetContent()) != "two" {
			t.Errorf("the history is %v", got)
		}
	})
}

// Point 2: Qt's clients offer deflate and gzip, and cannot inflate.
func TestWireNeverCompresses(t *testing.T) {
	t.Parallel()
	const offer = "identity,deflate,gzip"
	big := strings.Repeat("a", 300_000)
	none, msg := `{}`, `{"content":"aGk=","type":"Text"}`
	tests := []struct {
		name, path  string
		contentType string
		body        []byte
		enveloped   bool
	}{
		{"grpc stream", pathList, "application/grpc", emptyBatch, true},
		{"grpc", pathSend, "application/grpc", emptyBatch, true},
		{"grpc+json stream", pathList, "application/grpc+json", envelope([]byte(none)), true},
		{"grpc error", pathSend, "application/grpc+json", envelope([]byte(`{"x":1}`)), true},
		{"grpc-web stream", pathList, "application/grpc-web+proto", emptyBatch, true},
		{"grpc-web", pathSend, "application/grpc-web+proto", emptyBatch, true},
		{"connect stream", pathList, "application/connect+proto", emptyBatch, true},
		{"connect+json stream", pathList, "application/connect+json", envelope([]byte(none)), true},
		{"connect", pathSend, "application/json", []byte(msg), false},
		{"connect error", pathSend, "application/json", []byte(`{"x":1}`), false},
		{"lines", pathList, "application/json", []byte(none), false},
	}
	forEachQt(t, func(t *testing.T, w wire) {
		send(chattest.Context(t, patience), t, w.as(t, "user2", "qwerty"), text(big))
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				stream := w.dial(t).call(test.path, test.body, "content-type", test.contentType,
					"accept-encoding", "gzip, deflate", "grpc-accept-encoding", offer, "connect-accept-encoding", offer)
				header := stream.mustNext().header
				for _, name := range []string{"grpc-encoding", "connect-content-encoding", "content-encoding"} {
					if encoding := header[name]; encoding != "" && encoding != "identity" {
						t.Errorf("%s: %s", name, encoding)
					}
				}
				switch {
				case test.enveloped:
					msg, err := stream.message()
					if err != nil && !errors.Is(err, io.EOF) {
						t.Fatal(err)
					}
					if msg.flags&1 != 0 {
						t.Errorf("an envelope with the flags %#x: compressed", msg.flags)
					}
					if test.path == pathList && len(msg.data) < len(big) {
						t.Errorf("a message of %d bytes became a batch of %d", len(big), len(msg.data))
					}
				case test.path == pathList:
					if data := stream.mustNext().data; !bytes.HasPrefix(data, []byte(`{"messages":[`)) {
						t.Errorf("no JSON: %.40q", data)
					}
				default:
					if data := stream.mustNext().data; !json.Valid(data) {
						t.Errorf("no JSON: %q", data)
					}
				}
			})
		}
	})
}

// Point 3: wrong credentials get gRPC status 16 over HTTP 200, and nobody
// learns which users there are.
func TestWireWrongCredentials(t *testing.T) {
	t.Parallel()
	basic := func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s)) }
	tests := []struct {
		name   string
		header []string
		right  bool
	}{
		{name: "right", header: []string{"user-name", "user1", "user-password", "qwerty"}, right: true},
		{name: "wrong password", header: []string{"user-name", "user1", "user-password", "qwertz"}},
		{name: "unknown user", header: []string{"user-name", "nobody", "user-password", "qwerty"}},
		{name: "right, Basic", header: []string{"user-name", "", "user-password", "", "authorization", basic("user1:qwerty")}, right: true},
		{name: "wrong password, Basic", header: []string{"user-name", "", "user-password", "", "authorization", basic("user1:qwertz")}},
		{name: "unknown user, Basic", header: []string{"user-name", "", "user-password", "", "authorization", basic("nobody:qwerty")}},
	}
	forEachQt(t, func(t *testing.T, w wire) {
		for _, path := range []string{pathList, pathSend} {
			var refusal []map[string]string // of the first who was refused
			for _, test := range tests {
				stream := w.dial(t).call(path, emptyBatch, test.header...)
				header := stream.mustAnswer()
				if test.right {
					if msg := stream.mustMessage(); len(msg.data) != 0 && path == pathSend {
						t.Errorf("%s: %s: answered by %q", path, test.name, msg.data)
					}
					continue
				}
				trailer := stream.mustEnd()
				if trailer["grpc-status"] != "16" {
					t.Errorf("%s: %s: trailers %v, status 16 was due", path, test.name, trailer)
				}
				delete(header, "date")
				answer := []map[string]string{header, trailer}
				if refusal == nil {
					refusal = answer
				}
				for i := range answer {
					if !maps.Equal(answer[i], refusal[i]) {
						t.Errorf("%s: %s: %v, others get %v", path, test.name, answer[i], refusal[i])
					}
				}
			}
		}
	})
}

// Point 4: Qt 6.5 and 6.6 lose messages when a DATA frame ends inside the next
// message's prefix.
func TestWireMessageStartsDataFrame(t *testing.T) {
	t.Parallel()
	var history []int
	for i := range 300 {
		history = append(history, 20+i%50)
	}
	history = append(history, 16<<10-1, 16<<10, 40, 64<<10, 30, 30, 300_000, 1<<20, 50)
	t.Run("history", func(t *testing.T) {
		t.Parallel()
		for i := range len(qtClients) * len(h2cTransports) {
			qt, transport := qtClients[i/len(h2cTransports)], h2cTransports[i%len(h2cTransports)]
			conn := newWire(t, qt, transport, chatsvc.WithLog(filledLog(t, history))).dial(t)
			// The server stops only when the window is used up, so that it is
			// known where that is: never less than a prefix before a message.
			conn.lowWater = 1
			stream := conn.call(pathList, emptyBatch)
			stream.mustAnswer()
			readFramed(t, stream, history, 0)
		}
	})
	forEachQt(t, func(t *testing.T, w wire) {
		stream := w.dial(t).call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		ctx, client := chattest.Context(t, patience), w.as(t, "user1", "qwerty")
		n := 0
		// The client reads all of a group before the next is sent, so the
		// window is at least half open when a message begins.
		for _, group := range [][]int{repeat(200, 50), {16<<10 - 1}, {16 << 10}, {40, 50}, {64 << 10}, {65_530}, {70_000}, {300_000}, {1 << 20}, repeat(100, 60)} {
			for i, size := range group {
				send(ctx, t, client, numbered(n+i, size))
			}
			readFramed(t, stream, group, n)
			n += len(group)
		}
	})
}

// readFramed reads messages of the given sizes, numbered from n on, and checks
// that each batch begins a DATA frame.
func readFramed(tb testing.TB, stream *wireStream, sizes []int, n int) {
	tb.Helper()
	for i := 0; i < len(sizes); {
		msg := stream.mustMessage()
		if !msg.framed {
			tb.Errorf("the batch with message %d does not begin a DATA frame that holds its prefix", n+i)
		}
		var batch chatpb.ChatMessages
		if err := proto.Unmarshal(msg.data, &batch); err != nil {
			tb.Fatal(err)
		}
		for _, got := range batch.GetMessages() {
			checkNumbered(tb, got, n+i, sizes[i])
			i++
		}
	}
	if len(stream.rest) > 0 {
		tb.Errorf("%d bytes behind the last message in its DATA frame", len(stream.rest))
	}
}

// Point 5: no message is larger than a gRPC client accepts.
func TestWireBatchesAreBounded(t *testing.T) {
	t.Parallel()
	// 3 MiB of small messages, with images among them.
	var sizes []int
	for i := range 16_000 {
		if i == 9_000 {
			sizes = append(sizes, 1<<20, chatsvc.MaxContentCeiling, 20_000)
		}
		sizes = append(sizes, 150+i%100)
	}
	log := filledLog(t, sizes)
	forEachQt(t, func(t *testing.T, w wire) {
		for _, codec := range []struct {
			contentType string
			unmarshal   func([]byte, proto.Message) error
			maxBatch    int
			none        []byte
		}{
			{"application/grpc", proto.Unmarshal, maxBatch, nil},
			// Base64 and the fields' names come on top.
			{"application/grpc+json", protojson.Unmarshal, 3 * maxBatch, []byte(`{}`)},
		} {
			stream := w.dial(t).call(pathList, envelope(codec.none), "content-type", codec.contentType)
			stream.mustAnswer()
			batches := 0
			for n := 0; n < len(sizes); batches++ {
				data := stream.mustMessage().data
				var batch chatpb.ChatMessages
				if err := codec.unmarshal(data, &batch); err != nil {
					t.Fatal(err)
				}
				if len(data) > maxGRPC {
					t.Errorf("%s: a message of %d bytes", codec.contentType, len(data))
				}
				if count := len(batch.GetMessages()); count != 1 && len(data) > codec.maxBatch {
					t.Errorf("%s: a batch of %d messages has %d bytes", codec.contentType, count, len(data))
				}
				for _, msg := range batch.GetMessages() {
					checkNumbered(t, msg, n, sizes[n])
					n++
				}
			}
			if batches > len(sizes)/50 {
				t.Errorf("%s: %d messages came in %d batches", codec.contentType, len(sizes), batches)
			}
		}
	}, chatsvc.WithLog(log), chatsvc.WithMaxContent(chatsvc.MaxContentCeiling), chatsvc.WithReplay(chatsvc.Replay{}))
}

// Point 6: Qt 6.5 and 6.6 stay "connected" for ever when a stream ends without
// trailers.
func TestWireShutdownSendsTrailers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		stop func(ctx context.Context, w wire) error
		gone bool // the connection is closed, too
	}{
		{"Close", func(_ context.Context, w wire) error { w.service.Close(); return nil }, false},
		{"Shutdown", func(ctx context.Context, w wire) error { return w.service.Shutdown(ctx) }, false},
		{"RegisterOnShutdown", func(ctx context.Context, w wire) error {
			w.server.http.RegisterOnShutdown(w.service.Close)
			return w.server.shutdown(ctx)
		}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			forEachQt(t, func(t *testing.T, w wire) {
				ctx, conn := chattest.Context(t, patience), w.dial(t)
				var streams []*wireStream
				for range 3 {
					stream := conn.call(pathList, emptyBatch)
					stream.mustAnswer()
					stream.mustMessage()
					streams = append(streams, stream)
				}
				send(ctx, t, w.as(t, "user2", "qwerty"), text("last words"))
				stopped := make(chan error, 1)
				go func() { stopped <- test.stop(ctx, w) }()
				for _, stream := range streams {
					if batch := stream.mustBatch(); len(batch) != 1 || string(batch[0].GetContent()) != "last words" {
						t.Errorf("got %v, what was acknowledged before the end was due", batch)
					}
					if trailer := stream.mustEnd(); trailer["grpc-status"] != "14" {
						t.Errorf("trailers %v, status 14 was due", trailer)
					}
				}
				if conn.goAway != nil && *conn.goAway != http2.ErrCodeNo {
					t.Errorf("the connection ends with %v", *conn.goAway)
				}
				if !test.gone {
					late := conn.call(pathList, emptyBatch)
					late.mustAnswer()
					if trailer := late.mustEnd(); trailer["grpc-status"] != "14" {
						t.Errorf("a call after the end: trailers %v, status 14 was due", trailer)
					}
				} else if err := conn.readUntilClosed(patience); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection stays open")
				}
				if err := <-stopped; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Point 7: an empty batch after a silence, on the fake clock of a bubble.
func TestWireHeartbeat(t *testing.T) {
	t.Parallel()
	forEachQtInBubble(t, func(t *testing.T, conn *wireConn) {
		stream := conn.call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		subscribed := time.Now()
		heartbeat := func(due time.Duration) {
			t.Helper()
			if frame := stream.mustNext(); !bytes.Equal(frame.data, emptyBatch) {
				t.Errorf("got %+v, an empty batch was due", frame)
			}
			if after := time.Since(subscribed); after != due {
				t.Errorf("an empty batch after %v, it was due after %v", after, due)
			}
		}
		heartbeat(25 * time.Second)
		heartbeat(50 * time.Second)
		conn.mustBeSilent(10 * time.Second)
		conn.mustSend(t, 1) // the silence begins again
		stream.mustHear(1, 8)
		heartbeat(85 * time.Second)
		heartbeat(110 * time.Second)
	})
}

// The heartbeat continues while the stream is idle: neither the write deadline nor
// anything else cuts it.
func TestWireIdleStreamLives(t *testing.T) {
	t.Parallel()
	forEachQtInBubble(t, func(t *testing.T, conn *wireConn) {
		stream := conn.call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		for range time.Hour / chatsvc.DefaultHeartbeat {
			if batch := stream.mustBatch(); len(batch) != 0 {
				t.Errorf("nobody sent %v", batch)
			}
		}
		conn.mustSend(t, 1)
		stream.mustHear(1, 8)
	})
}

// Without heartbeat nothing is sent, and the stream lives all the same.
func TestWireNoHeartbeat(t *testing.T) {
	t.Parallel()
	forEachQtInBubble(t, func(t *testing.T, conn *wireConn) {
		stream := conn.call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		for n := range 3 {
			conn.mustBeSilent(time.Hour)
			conn.mustSend(t, n)
			stream.mustHear(n, 8)
		}
	}, chatsvc.WithHeartbeat(0))
}

// Point 9: grpc-message is plain ASCII for all input.
func TestWireErrorTextIsASCII(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, quoted string }{
		{"letter", `{"é":1}`, "é"},
		{"emoji", `{"🙂":1}`, "🙂"},
		{"control character", `{"a\nb":1}`, "a"},
		{"percent sign", `{"100%":1}`, "100%"},
		{"value", `{"type":"Täxt"}`, "Täxt"},
		{"not UTF-8", "{\"\xe9\":1}", ""},
	}
	forEachQt(t, func(t *testing.T, w wire) {
		for _, test := range tests {
			call := w.dial(t).call(pathSend, envelope([]byte(test.body)), "content-type", "application/grpc+json")
			call.mustAnswer()
			trailer := call.mustEnd()
			text := trailer["grpc-message"]
			if trailer["grpc-status"] != "3" || text == "" {
				t.Errorf("%s: trailers %v, status 3 and a text were due", test.name, trailer)
			}
			for _, c := range []byte(text) {
				if c < ' ' || c > '~' {
					t.Errorf("%s: the byte %#x in %q", test.name, c, text)
				}
			}
			if decoded, err := url.PathUnescape(text); err != nil || !strings.Contains(decoded, test.quoted) {
				t.Errorf("%s: %q does not quote %q: %v", test.name, text, test.quoted, err)
			}
		}
	})
}

// Point 9: one connection carries the stream and all sends.
func TestWireOneConnectionCarriesAll(t *testing.T) {
	t.Parallel()
	const sends = 100
	forEachQt(t, func(t *testing.T, w wire) {
		conn := w.dial(t)
		stream := conn.call(pathList, emptyBatch)
		stream.mustAnswer()
		stream.mustMessage()
		var calls []*wireStream
		for n := range sends {
			calls = append(calls, conn.call(pathSend, envelope(encoded(t, numbered(n, 100)))))
		}
		seen := make(map[string]int)
		for len(seen) < sends {
			for _, msg := range stream.mustBatch() {
				seen[string(msg.GetContent()[:8])]++
			}
		}
		for n, call := range calls {
			call.mustAnswer()
			if msg := call.mustMessage(); len(msg.data) > 0 {
				t.Errorf("send %d: answered by %q", n, msg.data)
			}
			if trailer := call.mustEnd(); trailer["grpc-status"] != "0" {
				t.Errorf("send %d: %v", n, trailer)
			}
			if number := fmt.Sprintf("%08d", n); seen[number] != 1 {
				t.Errorf("message %s came %d times", number, seen[number])
			}
		}
		// The stream continues while further sends come and go.
		for n := range sends {
			conn.mustSend(t, n)
			stream.mustHear(n, 8)
		}
	})
}
