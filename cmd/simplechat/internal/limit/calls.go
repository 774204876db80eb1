package limit

import (
	"context"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// streamsAfter is when a client without room for its stream may come back.
const streamsAfter = 5 * time.Second

var _ connect.Interceptor = (*Limits)(nil)

// WrapUnary implements [connect.Interceptor]: it bounds a user's sends per second.
func (l *Limits) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		user, _ := chatsvc.UserFromContext(ctx)
		if address := addressOf(ctx); !l.isExempt(address) {
			if wait, ok := l.sends.take(user.Name); !ok {
				l.note("sends per user", address, user.Name)
				return nil, refusal(wait, "this user sends more than %v messages per second: send it again later", l.config.Sends)
			}
		}
		return next(ctx, req)
	}
}

// WrapStreamingHandler implements [connect.Interceptor]: it bounds the streams.
func (l *Limits) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		user, _ := chatsvc.UserFromContext(ctx)
		address := addressOf(ctx)
		name := network(address)
		if !l.users.take(user.Name, l.perAddress(address, l.config.StreamsPerUser)) {
			l.note("streams per user", address, user.Name)
			return refusal(streamsAfter, "this user has %d streams: close some, or call again later", l.config.StreamsPerUser)
		}
		defer l.users.give(user.Name)
		if !l.streams.take(name, l.perAddress(address, l.config.StreamsPerAddress)) {
			l.note("streams", address, user.Name)
			return refusal(streamsAfter, "there are too many streams, of this address or in all: close some, or call again later")
		}
		defer l.streams.give(name)
		return next(ctx, conn)
	}
}

// WrapStreamingClient implements [connect.Interceptor]; it changes nothing.
func (l *Limits) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}
