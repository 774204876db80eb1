package chatclient_test

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

var errUnavailable = connect.NewError(connect.CodeUnavailable, errors.New("call again"))

// answer is the response of a script's server to one call.
type answer struct {
	epoch string // of the headers; empty: they tell no position
	first uint64 // offset of the first record, or of the stored message
	until uint64 // where the stream ends; 0: the server does not know how to
	// isReset means that the log went back.
	isReset bool
	ends    bool // the stream ends without an error
	batch   []string
	err     error // ends the call; nil: a stream stays open, and silent
	hang    bool  // no answer at all; with a position: no first batch
}

// script is a server that answers its calls as a test says, the last answer
// again and again. It is safe for concurrent use.
type script struct {
	answers []answer

	mu    sync.Mutex
	calls []call
}

// call is a request to a script's server.
type call struct {
	at     time.Time
	header http.Header
}

// position returns the position that was asked for.
func (c call) position() string {
	text := c.header.Get("Chat-Offset")
	if epoch := c.header.Get("Chat-Epoch"); epoch != "" {
		text += "@" + epoch
	}
	return text
}

var _ chatconnect.SimpleChatHandler = (*script)(nil)

// serveScript serves a script at http://NAME:80 until the test ends.
func (n *network) serveScript(tb testing.TB, name string, answers ...answer) *script {
	tb.Helper()
	s := &script{answers: answers}
	mux := http.NewServeMux()
	mux.Handle(chatconnect.NewSimpleChatHandler(s))
	tb.Cleanup(n.serve(name, mux))
	return s
}

// asked returns the calls so far.
func (s *script) asked() []call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// next notes a call, sets the answer's headers and returns it.
func (s *script) next(ctx context.Context) (answer, error) {
	info, _ := connect.CallInfoForHandlerContext(ctx)
	s.mu.Lock()
	a := s.answers[min(len(s.calls), len(s.answers)-1)]
	s.calls = append(s.calls, call{time.Now(), info.RequestHeader().Clone()})
	s.mu.Unlock()
	if a.hang && a.epoch == "" {
		<-ctx.Done()
		return a, ctx.Err()
	}
	if a.epoch != "" {
		info.ResponseHeader().Set(chatsvc.HeaderEpoch, a.epoch)
		info.ResponseHeader().Set(chatsvc.HeaderOffset, strconv.FormatUint(a.first, 10))
	}
	if a.until > 0 {
		info.ResponseHeader().Set(chatsvc.HeaderUntil, strconv.FormatUint(a.until, 10))
	}
	if a.isReset {
		info.ResponseHeader().Set(chatsvc.HeaderReset, "true")
	}
	return a, nil
}

// SendMessage implements chatconnect's handler.
func (s *script) SendMessage(ctx context.Context, _ *chatpb.ChatMessage) (*chatpb.None, error) {
	a, err := s.next(ctx)
	if err == nil {
		err = a.err
	}
	return &chatpb.None{}, err
}

// MessageList implements chatconnect's handler.
func (s *script) MessageList(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.ChatMessages]) error {
	a, err := s.next(ctx)
	if err != nil || a.epoch == "" && a.err != nil {
		return errors.Join(err, a.err)
	}
	if err := out.Conn().Send(nil); err != nil { // the headers
		return err
	}
	if len(a.batch) > 0 || a.err == nil && !a.hang && !a.ends {
		batch := &chatpb.ChatMessages{}
		for _, content := range a.batch {
			batch.Messages = append(batch.Messages, &chatpb.ChatMessage{Content: []byte(content), Type: chatpb.ChatMessage_Text})
		}
		if err := out.Send(batch); err != nil {
			return err
		}
	}
	if a.err != nil || a.ends {
		return a.err
	}
	<-ctx.Done()
	return ctx.Err()
}
