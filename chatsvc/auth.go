package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"unicode/utf8"

	"connectrpc.com/connect"
)

// User is the user that makes a call.
type User struct {
	// Name is the sender of the user's messages: UTF-8, 1 to 256 bytes.
	Name string
	// Revoked is closed when the credentials of the call are no longer valid, for
	// example because the user was removed, the password was changed or the session has
	// ended. The streams that were opened with them then end with unauthenticated at
	// once. Nothing must be sent on it. Nil means that the credentials stay valid until
	// the stream ends.
	Revoked <-chan struct{}
}

// Authenticator authenticates the caller of a call. Implementations must be safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns the user for a request's headers, which it must not
	// change. For credentials that are missing, malformed or wrong it returns
	// an error that wraps [ErrUnauthenticated]. The caller receives the error's text, and
	// WWW-Authenticate asks it for Basic credentials. An error with a connect code is
	// sent to the caller unchanged, with its metadata; use that to ask for other
	// credentials. Any other error becomes internal, and its text goes only to the
	// server's log. To end the caller's streams later, set
	// [User.Revoked]. [AuthInterceptor] says when Authenticate runs.
	Authenticate(ctx context.Context, header http.Header) (User, error)
}

// AuthenticatorFunc is a function that implements [Authenticator].
type AuthenticatorFunc func(ctx context.Context, header http.Header) (User, error)

// Authenticate implements [Authenticator].
func (f AuthenticatorFunc) Authenticate(ctx context.Context, header http.Header) (User, error) {
	return f(ctx, header)
}

type userKey struct{}

// UserFromContext returns the user that makes a call. Every interceptor and handler that
// runs after an [AuthInterceptor] can use it. It returns false for other calls.
func UserFromContext(ctx context.Context) (User, bool) {
	call, ok := ctx.Value(userKey{}).(authenticated)
	return call.user, ok
}

// authenticated is the value in the context: the user, and the interceptor that has
// authenticated it.
type authenticated struct {
	user User
	by   *AuthInterceptor
}

// AuthInterceptor refuses calls without a valid user, and puts the user into the context
// of the others. [Service] has its own AuthInterceptor. Embedders can protect other
// handlers with the same users:
//
//	auth := chatsvc.NewAuthInterceptor(authenticator)
//	mux.Handle(otherconnect.NewOtherHandler(other, auth.Option()))
//
// With [AuthInterceptor.Option] the [Authenticator] runs in connect's request
// gate: after the headers of a request and before its message. Calls without a
// user are refused there, so no interceptor sees them. Connect.WithRecover does not
// cover the gate: net/http catches a panic. The interceptor runs after
// the gate. It finds the user in the context, so the Authenticator does not run again, and
// it ends a stream's context when [User.Revoked] is closed.
//
// With connect.WithInterceptors alone, the Authenticator runs in the interceptor,
// at its place in the chain. By then connect has read and decoded the message of a unary
// call, even if the caller is not authenticated. An interceptor never sees a call that
// connect itself refuses, such as one with a message that cannot be decoded.
type AuthInterceptor struct {
	authenticator Authenticator
	logger        *slog.Logger
	// endsStreams means that the handler checks User.Revoked itself, which avoids a
	// goroutine for each stream.
	endsStreams bool
}

var _ connect.Interceptor = (*AuthInterceptor)(nil)

// AuthOption configures an [AuthInterceptor].
type AuthOption interface {
	applyAuth(i *AuthInterceptor)
}

type authOptionFunc func(*AuthInterceptor)

func (f authOptionFunc) applyAuth(i *AuthInterceptor) { f(i) }

// WithAuthLogger sets the logger for errors of an [Authenticator] that callers see as
// internal. Credentials are not logged. Without this option, or with nil, the errors are
// discarded.
func WithAuthLogger(logger *slog.Logger) AuthOption {
	return authOptionFunc(func(i *AuthInterceptor) {
		if logger != nil {
			i.logger = logger
		}
	})
}

// NewAuthInterceptor returns an interceptor that authenticates calls with a.
func NewAuthInterceptor(a Authenticator, opts ...AuthOption) *AuthInterceptor {
	i := &AuthInterceptor{authenticator: a, logger: slog.New(slog.DiscardHandler)}
	for _, opt := range opts {
		opt.applyAuth(i)
	}
	return i
}

// Option installs the interceptor on a handler, and makes it run before the
// request's message is read.
func (i *AuthInterceptor) Option() connect.HandlerOption {
	return connect.WithHandlerOptions(
		connect.WithRequestGate(func(ctx context.Context, _ connect.Spec, peer connect.Peer, header http.Header) (context.Context, error) {
			return i.authenticate(ctx, peer, header)
		}),
		connect.WithInterceptors(i),
	)
}

// WrapUnary implements [connect.Interceptor].
func (i *AuthInterceptor) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient {
			return next(ctx, req)
		}
		ctx, err := i.authenticate(ctx, req.Peer(), req.Header())
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements [connect.Interceptor].
func (i *AuthInterceptor) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, err := i.authenticate(ctx, conn.Peer(), conn.RequestHeader())
		if err != nil {
			return err
		}
		if user, _ := UserFromContext(ctx); user.Revoked != nil && !i.endsStreams {
			return untilRevoked(ctx, user.Revoked, conn, next)
		}
		return next(ctx, conn)
	}
}

// untilRevoked calls next with a context that ends when revoked is closed. Then the
// stream's error is unauthenticated, even if next returns another one.
func untilRevoked(ctx context.Context, revoked <-chan struct{}, conn connect.StreamingHandlerConn, next connect.StreamingHandlerFunc) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-revoked:
			cancel(errRevoked)
		case <-ctx.Done():
		}
	}()
	err := next(ctx, conn)
	if errors.Is(context.Cause(ctx), errRevoked) {
		return wireError(errRevoked)
	}
	return err
}

// WrapStreamingClient implements [connect.Interceptor]; it changes nothing.
func (i *AuthInterceptor) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// authenticate returns ctx with the user in it. A call that has passed the
// request gate has a user already.
func (i *AuthInterceptor) authenticate(ctx context.Context, peer connect.Peer, header http.Header) (context.Context, error) {
	if call, ok := ctx.Value(userKey{}).(authenticated); ok && call.by == i {
		return ctx, nil
	}
	user, err := i.authenticator.Authenticate(ctx, header)
	switch {
	case errors.Is(err, ErrUnauthenticated):
		coded := connect.NewError(connect.CodeUnauthenticated, err)
		if peer.Protocol == connect.ProtocolConnect {
			coded.Meta().Set(headerWWWAuthenticate, challenge) // RFC 9110, section 15.5.2
		}
		return ctx, coded
	case err == nil && (user.Name == "" || !utf8.ValidString(user.Name) || len(user.Name) > maxUserName):
		err = fmt.Errorf("the authenticator returned the user name %q", user.Name)
	}
	if err != nil {
		seen := wireError(err)
		// The caller learns the text of other errors, and could fill the log with them. If
		// the caller has left, the error may only be a consequence of that.
		if connect.CodeOf(seen) == connect.CodeInternal && ctx.Err() == nil {
			i.logger.Error("authenticate", "error", err)
		}
		return ctx, seen
	}
	if res, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		res.body.held.user = user.Name
	}
	return context.WithValue(ctx, userKey{}, authenticated{user, i}), nil
}
