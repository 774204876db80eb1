package logtest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// conversation holds two replicas that share a log.
type conversation struct {
	open     Opener
	options  []chatsvc.Option
	replicas []replica
}

type replica struct {
	client chatconnect.SimpleChatClient
	stop   func()
}

// start starts the replicas.
func (c *conversation) start(tb testing.TB) {
	tb.Helper()
	for range 2 {
		log, closeLog := c.open(tb)
		svc, err := chatsvc.New(append(c.options, chatsvc.WithLog(log))...)
		if err != nil {
			closeLog()
			tb.Fatal(err)
		}
		mux := http.NewServeMux()
		mux.Handle(svc.Handler())
		srv := httptest.NewUnstartedServer(mux)
		srv.Config.Protocols = new(http.Protocols)
		srv.Config.Protocols.SetUnencryptedHTTP2(true)
		srv.Start()
		transport := &http.Transport{Protocols: srv.Config.Protocols}
		c.replicas = append(c.replicas, replica{
			client: chatconnect.NewSimpleChatClient(&http.Client{Transport: transport}, srv.URL, connect.WithGRPC()),
			stop: func() {
				_ = svc.Shutdown(context.Background())
				transport.CloseIdleConnections()
				srv.Close()
				closeLog()
			},
		})
	}
}

// stop ends the replicas.
func (c *conversation) stop() {
	for _, r := range c.replicas {
		r.stop()
	}
	c.replicas = nil
}

// restart ends the replicas, and starts them over the same log.
func (c *conversation) restart(tb testing.TB) {
	tb.Helper()
	c.stop()
	c.start(tb)
}

// newCall returns a context for a call as user1 with further header fields.
func newCall(tb testing.TB, header ...string) (context.Context, connect.CallInfo) {
	tb.Helper()
	ctx, call := connect.NewClientContext(tb.Context())
	call.RequestHeader().Set(chatsvc.HeaderUserName, "user1")
	call.RequestHeader().Set(chatsvc.HeaderUserPassword, "qwerty")
	for i := 0; i < len(header); i += 2 {
		call.RequestHeader().Set(header[i], header[i+1])
	}
	return ctx, call
}

// sent is a server's answer to a send.
type sent struct {
	offset    uint64
	duplicate bool
}

// send sends a text, with a key unless that is empty.
func (r replica) send(tb testing.TB, content, key string) sent {
	tb.Helper()
	ctx, call := newCall(tb)
	if key != "" {
		call.RequestHeader().Set(chatsvc.HeaderIdempotencyKey, key)
	}
	_, err := r.client.SendMessage(ctx, &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text})
	switch {
	case tb.Context().Err() != nil: // the test has ended, and said why
		return sent{}
	case err != nil:
		tb.Errorf("send: %v", err)
		return sent{}
	}
	offset, err := strconv.ParseUint(call.ResponseHeader().Get(chatsvc.HeaderOffset), 10, 64)
	if err != nil {
		tb.Errorf("send: its answer's offset: %v", err)
	}
	return sent{offset, call.ResponseHeader().Get(chatsvc.HeaderDuplicate) == "true"}
}

// subscription is a stream and its position as the server reports it.
type subscription struct {
	tb      testing.TB
	stream  *connect.ServerStreamForClient[chatpb.ChatMessages]
	cancel  context.CancelFunc
	epoch   string
	next    uint64 // offset of the record that comes next
	pending []*chatpb.ChatMessage
}

// subscribe opens a stream. The caller calls leave in the end.
func (r replica) subscribe(tb testing.TB, header ...string) *subscription {
	tb.Helper()
	ctx, _ := newCall(tb, header...)
	ctx, cancel := context.WithCancel(ctx)
	stream, err := r.client.MessageList(ctx, &chatpb.None{})
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	s := &subscription{tb: tb, stream: stream, cancel: cancel, epoch: stream.ResponseHeader().Get(chatsvc.HeaderEpoch)}
	if s.next, err = strconv.ParseUint(stream.ResponseHeader().Get(chatsvc.HeaderOffset), 10, 64); err != nil {
		s.leave()
		tb.Fatalf("messageList: its answer's offset: %v, %v", err, stream.Err())
	}
	return s
}

// resume opens a stream at the position of the subscription s.
func (r replica) resume(s *subscription) *subscription {
	s.tb.Helper()
	return r.subscribe(s.tb, chatsvc.HeaderOffset, strconv.FormatUint(s.next, 10), chatsvc.HeaderEpoch, s.epoch)
}

// record returns the next record's content.
func (s *subscription) record() string {
	s.tb.Helper()
	for len(s.pending) == 0 {
		if !s.stream.Receive() {
			s.tb.Fatalf("the stream ended before record %d: %v", s.next, s.stream.Err())
		}
		s.pending = s.stream.Msg().GetMessages()
	}
	content := string(s.pending[0].GetContent())
	s.pending = s.pending[1:]
	s.next++
	return content
}

// leave ends the stream, and drops the messages that were not read yet.
func (s *subscription) leave() {
	s.cancel()
	_ = s.stream.Close()
}

// optional returns a header field unless its value is empty.
func optional(name, value string) []string {
	if value == "" {
		return nil
	}
	return []string{name, value}
}
