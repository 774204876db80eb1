package chatsvc

import (
	"context"
	"net/http"
)

// exchange is the state of one call that endpoint and the handlers share: its face, its
// body, and the writer that handlers use directly, past connect.
type exchange struct {
	resumption

	writer  http.ResponseWriter
	body    *limitedBody
	face    face
	refused error        // why the URL is refused; nil if it is valid
	many    *manyRequest // set for sendMessage with many messages
	line    *lineSend    // set for the call of one line
}

type exchangeKey struct{}

func exchangeFrom(ctx context.Context) *exchange {
	return ctx.Value(exchangeKey{}).(*exchange) //nolint:forcetypeassert // endpoint puts it there for every call
}
