package limit

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// streamsAfter is the time after which a client whose stream was refused may try again.
const streamsAfter = 5 * time.Second

// Option limits the calls of a handler after authentication. The sends of a user are
// counted before their messages are read.
func (l *Limits) Option() connect.HandlerOption {
	return connect.WithHandlerOptions(connect.WithRequestGate(l.gate), connect.WithInterceptors(streamLimit{l}))
}

// gate limits a user's sends per second.
func (l *Limits) gate(ctx context.Context, spec connect.Spec, _ connect.Peer, _ http.Header) (context.Context, error) {
	user, _ := chatsvc.UserFromContext(ctx)
	address := addressOf(ctx)
	if spec.StreamType != connect.StreamTypeUnary || l.isExempt(address) {
		return ctx, nil
	}
	if wait, ok := l.sends.take(user.Name); !ok {
		l.note("sends per user", address, user.Name)
		return ctx, refusal(wait, "this user sends more than %v messages per second: send it again later", l.config.Sends)
	}
	return ctx, nil
}

// streamLimit limits the streams.
type streamLimit struct{ *Limits }

var _ connect.Interceptor = streamLimit{}

// WrapUnary implements [connect.Interceptor]; it changes nothing.
func (l streamLimit) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc { return next }

// WrapStreamingHandler implements [connect.Interceptor].
func (l streamLimit) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		user, _ := chatsvc.UserFromContext(ctx)
		address := addressOf(ctx)
		name := network(address)
		if l.users.take(user.Name, l.perAddress(address, l.config.StreamsPerUser)) != none {
			l.note("streams per user", address, user.Name)
			return refusal(streamsAfter, "this user has %d streams: close some of them, or call again later", l.config.StreamsPerUser)
		}
		defer l.users.give(user.Name)
		if hit := l.streams.take(name, l.perAddress(address, l.config.StreamsPerAddress)); hit != none {
			l.note("streams"+string(hit), address, user.Name)
			if hit == perAddress {
				return refusal(streamsAfter, "this address has %d streams: close some of them, or call again later", l.config.StreamsPerAddress)
			}
			return refusal(streamsAfter, "the server has %d streams, which is its limit: call again later", l.config.Streams)
		}
		defer l.streams.give(name)
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements [connect.Interceptor]; it changes nothing.
func (l streamLimit) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}
