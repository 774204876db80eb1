package chatsvc_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// revocable lets everyone in, and revokes what Qt's header names as user2's.
type revocable struct{ revoked chan struct{} }

func (a revocable) Authenticate(_ context.Context, header http.Header) (chatsvc.User, error) {
	name, _, err := chatsvc.Credentials(header)
	user := chatsvc.User{Name: name}
	if name == "user2" {
		user.Revoked = a.revoked
	}
	return user, err
}

// When credentials are revoked, the streams that were opened with them end with
// unauthenticated, and no others do.
func TestRevokedStreamsEnd(t *testing.T) {
	t.Parallel()
	for _, protocol := range wireProtocols {
		t.Run(protocol.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			a := revocable{make(chan struct{})}
			svc := newService(t, chatsvc.WithAuthenticator(a))
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			f := face{service: svc, server: newServer(t, mux, transports[3]), protocol: protocol}
			stays := chattest.Subscribe(ctx, t, f.as(t, "user1", "x"))
			ends := chattest.Subscribe(ctx, t, f.as(t, "user2", "x"))
			send(ctx, t, f.as(t, "user2", "x"), text("before"))
			ends.Next()
			stays.Next()
			close(a.revoked)
			for ends.Stream.Receive() {
			}
			if err := ends.Stream.Err(); connect.CodeOf(err) != connect.CodeUnauthenticated || !contains(err, "log in again") || !connect.IsWireError(err) {
				t.Errorf("the stream ended with %v", err)
			}
			send(ctx, t, f.as(t, "user1", "x"), text("after"))
			if got := stays.Next(); string(got.GetContent()) != "after" {
				t.Errorf("the other stream has %v", got)
			}
		})
	}
}

// The context of an embedder's stream ends too, and the caller learns why.
func TestRevokedStreamsOfOthersEnd(t *testing.T) {
	t.Parallel()
	for name, option := range map[string]func(*chatsvc.AuthInterceptor) connect.HandlerOption{
		"gate":        (*chatsvc.AuthInterceptor).Option,
		"interceptor": func(i *chatsvc.AuthInterceptor) connect.HandlerOption { return connect.WithInterceptors(i) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			a := revocable{make(chan struct{})}
			mux := http.NewServeMux()
			mux.Handle(chatconnect.NewSimpleChatHandler(untilDone{}, option(chatsvc.NewAuthInterceptor(a))))
			f := face{server: newServer(t, mux, transports[1]), protocol: wireProtocols[2]}
			sub := chattest.Subscribe(ctx, t, f.as(t, "user2", "x"))
			close(a.revoked)
			for sub.Stream.Receive() {
			}
			if err := sub.Stream.Err(); connect.CodeOf(err) != connect.CodeUnauthenticated {
				t.Errorf("the stream ended with %v", err)
			}
		})
	}
}

// untilDone is a handler whose streams last as long as their context.
type untilDone struct{ whoAmI }

func (untilDone) MessageList(ctx context.Context, _ *chatpb.None, out *connect.ServerStream[chatpb.ChatMessages]) error {
	if err := out.Send(&chatpb.ChatMessages{}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// Errors whose reason callers do not see are logged. Other errors are not, because a
// stranger could fill the log with them.
func TestAuthLogger(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		err    error
		code   connect.Code
		logged bool
	}{
		{"unknown error", errors.New("the database is away"), connect.CodeInternal, true},
		{"wrong credentials", chatsvc.ErrUnauthenticated, connect.CodeUnauthenticated, false},
		{"own code", connect.NewError(connect.CodeResourceExhausted, errors.New("later")), connect.CodeResourceExhausted, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out chattest.Buffer
			auth := chatsvc.NewAuthInterceptor(chatsvc.AuthenticatorFunc(func(context.Context, http.Header) (chatsvc.User, error) {
				return chatsvc.User{}, tt.err
			}), chatsvc.WithAuthLogger(nosecret.Logger(t, &out)))
			mux := http.NewServeMux()
			mux.Handle(chatconnect.NewSimpleChatHandler(whoAmI{}, auth.Option()))
			f := face{server: newServer(t, mux, transports[1]), protocol: wireProtocols[0]}
			_, err := f.as(t, "user1", "s3cr3t").SendMessage(chattest.Context(t, patience), text("x"))
			if connect.CodeOf(err) != tt.code || contains(err, "database") {
				t.Errorf("%v", err)
			}
			if log := out.String(); strings.Contains(log, "the database is away") != tt.logged || log != "" && !tt.logged || strings.Contains(log, "s3cr3t") {
				t.Errorf("the log: %q", log)
			}
		})
	}
}
