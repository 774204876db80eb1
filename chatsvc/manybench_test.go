package chatsvc

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// A line of a request with many messages, as far as its record.
func BenchmarkLineCall(b *testing.B) {
	svc, err := New()
	if err != nil {
		b.Fatal(err)
	}
	defer svc.Close()
	_, handler := svc.Handler()
	e := handler.(*endpoint)
	r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, chatconnect.SimpleChatSendMessageProcedure, nil)
	r.SetBasicAuth("user1", "qwerty")
	caller := newLineCaller(e.rpc, r)
	line := []byte(`{"content":"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUZHSElKS0xNTk9QUVJTVFVWV1hZWkFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaQUJDREVGR0hJSktMTU5PUFFSU1RVVg==","type":"Text"}`)
	b.ReportAllocs()
	for b.Loop() {
		if send := caller.call(line, nil); send.refusal != nil {
			b.Fatalf("%s", send.refusal)
		}
	}
}
