package chatsvc_test

import (
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"example.com/simplechat/chatsvc/chattest"
)

// The error for a malformed JSON message does not repeat the whole message.
func TestJSONErrorsAreShort(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	svc := newService(t)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[0])
	many := sendMany(ctx, t, s, header())
	for _, pad := range []string{"", "x", "xx"} {
		for _, field := range []string{`"type":"` + pad + strings.Repeat("€", 50_000) + `"`, `"` + pad + strings.Repeat("€", 50_000) + `":1`} {
			many.write("{" + field + "}\n")
			got := many.next()
			if !strings.Contains(got, `"code":"invalid_argument"`) || !strings.Contains(got, "protobuf's JSON") || len(got) > 1000 || !utf8.ValidString(got) || strings.ContainsRune(got, utf8.RuneError) {
				t.Errorf("%.1000q", got)
			}
		}
	}
}
