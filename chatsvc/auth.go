package chatsvc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"
)

// The credentials as Qt's client sends them, in UTF-8.
const (
	HeaderUserName     = "User-Name"
	HeaderUserPassword = "User-Password"
)

const (
	headerAuthorization   = "Authorization"
	headerWWWAuthenticate = "WWW-Authenticate"
	challenge             = `Basic realm="SimpleChat", charset="UTF-8"`
)

// User is who makes a call.
type User struct {
	// Name is what the messages that the user sends are from: UTF-8, 1 to 256
	// bytes.
	Name string
	// Revoked is closed when the credentials of the call are no longer valid:
	// the user was removed, the password was changed, a session has ended. The
	// streams that were opened with them then end with unauthenticated at once.
	// It must never be sent on. Nil, the zero value: they stay valid as long as
	// the stream lives.
	Revoked <-chan struct{}
}

// Authenticator tells who makes a call. Implementations are safe for
// concurrent use.
type Authenticator interface {
	// Authenticate returns the user for a request's headers, which it must not
	// change. For credentials that are missing, malformed or wrong it returns
	// an error that wraps [ErrUnauthenticated] and whose text is for the
	// caller, who is asked for Basic credentials by WWW-Authenticate. An error
	// with a connect code goes to the caller as it is, its metadata included:
	// that is the way to ask for others. Any other becomes internal, and its
	// text goes to the server's log. To end the caller's streams later, set
	// [User.Revoked]. See [AuthInterceptor] for where Authenticate runs.
	Authenticate(ctx context.Context, header http.Header) (User, error)
}

// AuthenticatorFunc is a function as an [Authenticator].
type AuthenticatorFunc func(ctx context.Context, header http.Header) (User, error)

// Authenticate implements [Authenticator].
func (f AuthenticatorFunc) Authenticate(ctx context.Context, header http.Header) (User, error) {
	return f(ctx, header)
}

// Credentials returns the name and password that a request's headers carry:
// Authorization with the scheme Basic (RFC 7617, UTF-8; the password may hold
// colons), or else [HeaderUserName] and [HeaderUserPassword]. Authorization
// wins if both are there. Missing or malformed ones are an error that wraps
// [ErrUnauthenticated].
func Credentials(h http.Header) (name, password string, err error) {
	if values := h.Values(headerAuthorization); len(values) > 0 {
		if len(values) > 1 {
			return "", "", unauthenticated("there are %d Authorization headers: send one", len(values))
		}
		return parseBasic(values[0])
	}
	names, passwords := h.Values(HeaderUserName), h.Values(HeaderUserPassword)
	if len(names) == 0 || len(passwords) == 0 {
		return "", "", unauthenticated("no credentials: send Authorization: Basic, or user-name and user-password")
	}
	// Qt's reference server takes the last of several.
	name, password = names[len(names)-1], passwords[len(passwords)-1]
	if !utf8.ValidString(name) || !utf8.ValidString(password) {
		return "", "", unauthenticated("user-name or user-password is not UTF-8")
	}
	return name, password, nil
}

// parseBasic reads the value of an Authorization header (RFC 7617, section 2).
func parseBasic(value string) (name, password string, err error) {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", unauthenticated("the Authorization scheme is not Basic, the only one here")
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Trim(token, " "))
	if err != nil {
		return "", "", unauthenticated("Authorization: Basic must be followed by the base64 of NAME:PASSWORD")
	}
	name, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", unauthenticated("Authorization: Basic has no colon between name and password")
	}
	if !utf8.Valid(decoded) {
		return "", "", unauthenticated("Authorization: Basic is not UTF-8")
	}
	return name, password, nil
}

type credentialsError struct{ text string }

func (e *credentialsError) Error() string        { return e.text }
func (e *credentialsError) Is(target error) bool { return target == ErrUnauthenticated }

func unauthenticated(format string, args ...any) error {
	return &credentialsError{fmt.Sprintf(format, args...)}
}

type userKey struct{}

// UserFromContext returns the user who makes a call. It is there in every
// interceptor and handler that runs behind an [AuthInterceptor].
func UserFromContext(ctx context.Context) (User, bool) {
	call, ok := ctx.Value(userKey{}).(authenticated)
	return call.user, ok
}

// authenticated is the context's value: who calls, and who said so.
type authenticated struct {
	user User
	by   *AuthInterceptor
}

// AuthInterceptor lets only calls with a user through, and puts the user into
// their context. [Service] has one of its own; embedders may guard further
// handlers with the same users:
//
//	auth := chatsvc.NewAuthInterceptor(authenticator)
//	mux.Handle(otherconnect.NewOtherHandler(other, auth.Option()))
//
// With [AuthInterceptor.Option] the [Authenticator] runs in connect's request
// gate: after the headers of a request and before its message. Calls without a
// user are refused there, so no interceptor sees them, and neither does
// connect.WithRecover: net/http catches a panic. The interceptor comes after
// the gate. It finds the user in the context and does not ask again, and it
// ends a stream's context when [User.Revoked] is closed.
//
// With connect.WithInterceptors alone the Authenticator runs in the interceptor,
// at its place in the chain: connect has read and decoded the message of a unary
// call by then, whoever sent it. An interceptor never sees a call that connect
// refuses itself, such as one with a message that cannot be decoded.
type AuthInterceptor struct {
	authenticator Authenticator
	logger        *slog.Logger
	// endsStreams tells that the handler looks at User.Revoked by itself, which
	// takes no goroutine for each stream.
	endsStreams bool
}

var _ connect.Interceptor = (*AuthInterceptor)(nil)

// AuthOption configures an [AuthInterceptor].
type AuthOption interface {
	applyAuth(i *AuthInterceptor)
}

type authOptionFunc func(*AuthInterceptor)

func (f authOptionFunc) applyAuth(i *AuthInterceptor) { f(i) }

// WithAuthLogger sets where the errors of an [Authenticator] are logged that
// callers see as internal. No credential is logged. Without it, or with nil,
// nothing is.
func WithAuthLogger(logger *slog.Logger) AuthOption {
	return authOptionFunc(func(i *AuthInterceptor) {
		if logger != nil {
			i.logger = logger
		}
	})
}

// NewAuthInterceptor returns an interceptor that asks a who is calling.
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

// untilRevoked calls next with a context that ends when revoked is closed. The
// stream's error is unauthenticated then, whatever next makes of it.
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
// request gate has one already.
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
		// Of other errors the caller learns the text, and could fill the log with them;
		// one who is gone waits for no answer.
		if connect.CodeOf(seen) == connect.CodeInternal && ctx.Err() == nil {
			i.logger.Error("authenticate", "error", err)
		}
		return ctx, seen
	}
	if res, ok := ctx.Value(responseKey{}).(*response); ok {
		res.body.held.user = user.Name
	}
	return context.WithValue(ctx, userKey{}, authenticated{user, i}), nil
}
