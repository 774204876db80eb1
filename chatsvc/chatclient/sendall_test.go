package chatclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// texts returns n messages.
func texts(n int) (msgs []*chatpb.ChatMessage) {
	for i := range n {
		msgs = append(msgs, &chatpb.ChatMessage{Content: fmt.Appendf(nil, "message %d", i), Type: chatpb.ChatMessage_Text})
	}
	return msgs
}

// refuse is an interceptor that refuses messages.
type refuse func(content string) error

func (r refuse) interceptor() connect.HandlerOption {
	return connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
			if msg, ok := req.Any().(*chatpb.ChatMessage); ok {
				if err := r(string(msg.GetContent())); err != nil {
					return nil, err
				}
			}
			return next(ctx, req)
		}
	}))
}

// checkStored checks that the server has the contents, in their order.
func checkStored(t *testing.T, c *chatclient.Client, want []string) {
	t.Helper()
	var got []string
	err := c.Read(chattest.Context(t, patience), chatclient.All(), chatclient.End(), func(e chatclient.Event) error {
		if e.Message != nil {
			got = append(got, string(e.Message.GetContent()))
		}
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%d messages are stored (%v), want %d: %.200q", len(got), err, len(want), got)
	}
}

// said returns what messages say.
func said(msgs []*chatpb.ChatMessage) (all []string) {
	for _, msg := range msgs {
		all = append(all, string(msg.GetContent()))
	}
	return all
}

// Limits delay a part of the messages, and a refusal drops one: the others are stored
// once and in their order.
func TestSendAllKeepsTheOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		tokens := 100
		msgs := texts(5000)
		msgs[7].Content = []byte("refused")
		n.serveChat(t, "chat", chatsvc.WithHandlerOptions(refuse(func(content string) error {
			if content == "refused" {
				return connect.NewError(connect.CodeInvalidArgument, errors.New("because"))
			}
			if tokens--; tokens%1000 == 0 {
				return chatsvc.NewLimitError(time.Second, errors.New("too many"))
			}
			return nil
		}).interceptor()))
		c := n.client(t, "http://chat")
		var last uint64
		next := 0
		err := c.SendAll(chattest.Context(t, patience), msgs, func(i int, sent chatclient.Sent, err error) {
			if i != next || (err != nil) != (i == 7) || err == nil && sent.Offset <= last {
				t.Errorf("outcome %d: %+v, %v; number %d was due behind offset %d", i, sent, err, next, last)
			}
			next, last = i+1, max(last, sent.Offset)
		})
		if err != nil || next != len(msgs) {
			t.Errorf("%d outcomes, %v", next, err)
		}
		checkStored(t, c, slices.Delete(said(msgs), 7, 8))
	})
}

// A connection breaks in the middle of the answers: all is sent again, and stored once.
func TestSendAllAfterABreak(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		svc, err := chatsvc.New()
		if err != nil {
			t.Fatal(err)
		}
		defer svc.Close()
		_, handler := svc.Handler()
		var requests atomic.Int64
		stop := n.serve("chat", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-ndjson") && requests.Add(1) <= 3 {
				w = &breaking{ResponseWriter: w, left: 2}
			}
			handler.ServeHTTP(w, r)
		}))
		defer stop()
		c := n.client(t, "http://chat")
		msgs, duplicates := texts(3000), 0
		err = c.SendAll(chattest.Context(t, patience), msgs, func(i int, sent chatclient.Sent, err error) {
			if err != nil {
				t.Errorf("outcome %d: %v", i, err)
			}
			if sent.Duplicate {
				duplicates++
			}
		})
		if err != nil || duplicates == 0 || requests.Load() < 4 {
			t.Errorf("%d requests, %d duplicates, %v", requests.Load(), duplicates, err)
		}
		checkStored(t, c, said(msgs))
	})
}

// breaking is a response that breaks after some writes.
type breaking struct {
	http.ResponseWriter

	left int
}

func (b *breaking) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (b *breaking) Write(p []byte) (int, error) {
	if b.left--; b.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return b.ResponseWriter.Write(p)
}

// When SendAll gives up, its error says whether messages may have been stored.
func TestSendAllErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		handler   http.HandlerFunc
		code      connect.Code
		uncertain bool
	}{
		{"unauthenticated", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"code":"unauthenticated","message":"because"}`))
		}, connect.CodeUnauthenticated, false},
		{"an unknown face", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnsupportedMediaType)
		}, connect.CodeUnimplemented, false},
		{"for ever unavailable", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, connect.CodeUnavailable, true},
		{"silent", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, connect.CodeUnavailable, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				defer n.serve("chat", tt.handler)()
				err := n.client(t, "http://chat").SendAll(chattest.Context(t, patience), texts(3), func(i int, _ chatclient.Sent, err error) {
					t.Errorf("outcome %d: %v", i, err)
				})
				if connect.CodeOf(err) != tt.code || errors.Is(err, chatclient.ErrUncertain) != tt.uncertain {
					t.Errorf("%v", err)
				}
			})
		})
	}
}
