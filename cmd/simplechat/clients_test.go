package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

func TestConnectGo(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	for name, opts := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			client := p.client("user3", opts...)
			send(ctx, t, client, text(name))
			sub := chattest.Subscribe(ctx, t, client)
			msg := sub.Next()
			for string(msg.GetContent()) != name { // the others' messages
				msg = sub.Next()
			}
			if msg.GetFrom() != "user3" || msg.GetType() != chatpb.ChatMessage_Text {
				t.Errorf("the message came back as %v", msg)
			}
			_, err := p.client("user3:wrong", opts...).SendMessage(ctx, text(name))
			if code := codeOf(t, err); code != connect.CodeUnauthenticated {
				t.Errorf("wrong password: %v", err)
			}
		})
	}
}

// qtCredentials are a name and a password as Qt's client sends them.
type qtCredentials struct{ name, password string }

var _ credentials.PerRPCCredentials = qtCredentials{}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (c qtCredentials) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"user-name": c.name, "user-password": c.password}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (qtCredentials) RequireTransportSecurity() bool { return false }

// grpcClient is a client of grpc-go with its default settings.
type grpcClient struct {
	tb   testing.TB
	conn *grpc.ClientConn
}

// newGRPCClient returns a client that logs in as Qt's does.
func newGRPCClient(tb testing.TB, p *process, name, password string) *grpcClient {
	tb.Helper()
	conn, err := grpc.NewClient(p.addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(qtCredentials{name, password}))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return &grpcClient{tb, conn}
}

// send calls sendMessage.
func (c *grpcClient) send(msg *chatpb.ChatMessage) error {
	c.tb.Helper()
	return c.conn.Invoke(chattest.Context(c.tb, patience), chatconnect.SimpleChatSendMessageProcedure, msg, &chatpb.None{})
}

// list calls messageList.
func (c *grpcClient) list() grpc.ClientStream {
	c.tb.Helper()
	stream, err := c.conn.NewStream(chattest.Context(c.tb, patience), &grpc.StreamDesc{ServerStreams: true}, chatconnect.SimpleChatMessageListProcedure)
	if err != nil {
		c.tb.Fatal(err)
	}
	if err := stream.SendMsg(&chatpb.None{}); err != nil {
		c.tb.Fatal(err)
	}
	if err := stream.CloseSend(); err != nil {
		c.tb.Fatal(err)
	}
	return stream
}

// receive returns the next n messages of a stream.
func (c *grpcClient) receive(stream grpc.ClientStream, n int) []*chatpb.ChatMessage {
	c.tb.Helper()
	var got []*chatpb.ChatMessage
	for len(got) < n {
		var batch chatpb.ChatMessages
		if err := stream.RecvMsg(&batch); err != nil {
			c.tb.Fatalf("after %d of %d messages: %v", len(got), n, err)
		}
		got = append(got, batch.GetMessages()...)
	}
	return got
}

func TestGRPCGo(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	client := newGRPCClient(t, p, "user1", "qwerty")
	if err := client.send(text("history")); err != nil {
		t.Fatal(err)
	}
	stream := client.list()
	if got := client.receive(stream, 1); string(got[0].GetContent()) != "history" || got[0].GetFrom() != "user1" {
		t.Errorf("first message %v", got[0])
	}
	picture := &chatpb.ChatMessage{Type: chatpb.ChatMessage_Image, Content: []byte("\x89PNG\r\n\x1a\n\x00\xff\xfe"), Timestamp: 42}
	if err := newGRPCClient(t, p, "user2", "qwerty").send(picture); err != nil {
		t.Fatal(err)
	}
	got := client.receive(stream, 1)[0]
	if !bytes.Equal(got.GetContent(), picture.GetContent()) || got.GetType() != picture.GetType() || got.GetTimestamp() != 42 || got.GetFrom() != "user2" {
		t.Errorf("the image came back as %v", got)
	}

	stranger := newGRPCClient(t, p, "user1", "wrong")
	if err := stranger.send(text("hello")); status.Code(err) != codes.Unauthenticated {
		t.Errorf("send with a wrong password: %v", err)
	}
	if err := stranger.list().RecvMsg(&chatpb.ChatMessages{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("stream with a wrong password: %v", err)
	}

	p.stop()
	// The text tells the server's trailers from a connection that broke.
	err := stream.RecvMsg(&chatpb.ChatMessages{})
	if status.Code(err) != codes.Unavailable || !strings.Contains(status.Convert(err).Message(), "shutting down") {
		t.Errorf("the stream ended with %v", err)
	}
}

// No message is larger than a client takes by default.
func TestLargestMessagesReachDefaultClient(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--max-content", "3008KiB")
	client := newGRPCClient(t, p, "user1", "qwerty")
	largest := image(chatsvc.MaxContentCeiling)
	for _, msg := range []*chatpb.ChatMessage{text("before"), largest, largest, text("after")} {
		if err := client.send(msg); err != nil {
			t.Fatal(err)
		}
	}
	got := client.receive(client.list(), 4)
	for i, size := range []int{len("before"), chatsvc.MaxContentCeiling, chatsvc.MaxContentCeiling, len("after")} {
		if len(got[i].GetContent()) != size {
			t.Errorf("message %d has %d bytes, not %d", i, len(got[i].GetContent()), size)
		}
	}
	if err := client.send(image(chatsvc.MaxContentCeiling + 1)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("larger by a byte: %v", err)
	}
}

// execute runs a program and returns its output. The test fails if the program does.
func execute(tb testing.TB, name string, args ...string) string {
	tb.Helper()
	cmd := exec.CommandContext(chattest.Context(tb, patience), name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%s: %v\n%s%s", cmd, err, out, stderr.Bytes())
	}
	return string(out)
}

// watcher is a program that prints what happens.
type watcher struct {
	tb     testing.TB
	cmd    *exec.Cmd
	stdout *bufio.Reader
	stderr bytes.Buffer
}

// watch starts a program that prints a stream. It ends with the test at the
// latest.
func watch(tb testing.TB, name string, args ...string) *watcher {
	tb.Helper()
	w := &watcher{tb: tb, cmd: exec.CommandContext(chattest.Context(tb, patience), name, args...)}
	w.cmd.Stderr = &w.stderr
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	w.stdout = bufio.NewReader(stdout)
	if err := w.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
	})
	return w
}

// line returns the next line, without its end.
func (w *watcher) line() string {
	w.tb.Helper()
	line, err := w.stdout.ReadString('\n')
	if err != nil {
		w.tb.Fatalf("%s ended: %q, %v\n%s", w.cmd, line, err, w.stderr.Bytes())
	}
	return strings.TrimSuffix(line, "\n")
}

// bytes returns the next n bytes.
func (w *watcher) bytes(n int) []byte {
	w.tb.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(w.stdout, b); err != nil {
		w.tb.Fatalf("%s ended: %q, %v", w.cmd, b, err)
	}
	return b
}
