package chatsvc_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// A body that is the content itself becomes the message that its type says.
func TestPlainBodies(t *testing.T) {
	t.Parallel()
	png := "\x89PNG\r\n\x1a\n" + strings.Repeat("\x00\xff", (chatsvc.DefaultMaxContent-8)/2)
	tests := []struct {
		contentType, body string
		kind              chatpb.ChatMessage_ContentType
	}{
		{"text/plain", "grüß dich\n", chatpb.ChatMessage_Text},
		{"text/plain; charset=UTF-8", "hi", chatpb.ChatMessage_Text},
		{"application/x-www-form-urlencoded", `a=b&c=%20 "+`, chatpb.ChatMessage_Text},
		{"text/plain", "", chatpb.ChatMessage_Text},
		{"text/plain", strings.Repeat("x", chatsvc.DefaultMaxContent), chatpb.ChatMessage_Text},
		{"image/png", png, chatpb.ChatMessage_Image},
		{"image/webp", "no image at all", chatpb.ChatMessage_Image},
	}
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			sub := chattest.Subscribe(ctx, t, face{service: svc, server: s, protocol: wireProtocols[0]}.as(t, "user2", "qwerty"))
			client := s.newClient(t)
			for i, test := range tests {
				call := rawCall{name: test.contentType, contentType: test.contentType, body: test.body}
				status, _, body := call.do(t, client, s.url)
				want := `{"offset":"` + string(rune('1'+i)) + `","type":"` + test.kind.String() + "\"}\n"
				if status != http.StatusOK || body != want {
					t.Fatalf("%s: %d, %q; %q was due", test.contentType, status, body, want)
				}
				got := sub.Next()
				if !bytes.Equal(got.GetContent(), []byte(test.body)) || got.GetType() != test.kind || got.GetFrom() != "user1" || got.GetTimestamp() == 0 {
					t.Errorf("%s: came back as %.100v", test.contentType, got)
				}
			}
			keyed := rawCall{name: "key", contentType: "text/plain", header: []string{"Idempotency-Key", "k"}, body: "once"}
			keyed.do(t, client, s.url)
			if _, _, body := keyed.do(t, client, s.url); body != `{"offset":"8","type":"Text","duplicate":true}`+"\n" {
				t.Errorf("the same key: %q", body)
			}
		})
	}
}

// A plain text that happens to be valid base64 is not decoded.
func TestUntypedJSON(t *testing.T) {
	t.Parallel()
	svc := newService(t)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[0])
	for body, ok := range map[string]bool{
		`{"content":"hi"}`:                    false,
		`{"content":"hello123"}`:              false,
		`{"content":"aGk="}`:                  true,
		`{"content":"iVBORw0KGgo="}`:          true, // a PNG's first bytes
		`{"content":"hi","type":"Unknown"}`:   true,
		`{"content":"hi","from":"\"type\""}`:  false,
		`{}`:                                  true,
		`{"content":"/9j/4AAQSkZJRgABAQAA"}`:  true, // a JPEG's
		`{"content":"hi","type":0}`:           true,
		`{"content":"aGk=","timestamp":"12"}`: true,
	} {
		call := rawCall{name: body, contentType: "application/json", body: body}
		status, code, text := call.do(t, s.newClient(t), s.url)
		if ok != (status == http.StatusOK) || !ok && (code != "invalid_argument" || !strings.Contains(text, "base64") || !strings.Contains(text, "text/plain")) {
			t.Errorf("%s: %d, %s", body, status, text)
		}
	}
}

// A page of another site cannot call in a way that a browser does not ask about first.
func TestOtherSites(t *testing.T) {
	t.Parallel()
	trusted := func(r *http.Request) bool { return r.Header.Get("Origin") == "https://friend.example" }
	svc := newService(t, chatsvc.WithTrustedRequests(trusted))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	list := func(pairs ...string) rawCall {
		return rawCall{method: "GET", path: "messageList?until=end", header: pairs}
	}
	post := func(contentType string, pairs ...string) rawCall {
		return rawCall{contentType: contentType, body: "hi", header: pairs}
	}
	tests := []struct {
		call    rawCall
		refused bool
	}{
		{list(), false},
		{list("Sec-Fetch-Site", "same-origin"), false},
		{list("Sec-Fetch-Site", "none"), false},
		{list("Sec-Fetch-Site", "cross-site"), true},
		{list("Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), true},
		{list("Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"), false},
		{post("text/plain"), false},
		{post("text/plain", "Sec-Fetch-Site", "same-origin", "Origin", "https://elsewhere.example"), false},
		{post("text/plain", "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"), true},
		{post("text/plain", "Sec-Fetch-Site", "same-site", "Origin", "https://evil.example"), true},
		{post("text/plain", "Origin", "https://evil.example"), true},
		{post("text/plain", "Origin", "null"), true},
		{post("application/x-www-form-urlencoded", "Sec-Fetch-Site", "cross-site"), true},
		{post("image/png", "Sec-Fetch-Site", "cross-site"), true},
		{post("text/plain", "Sec-Fetch-Site", "cross-site", "Origin", "https://friend.example"), false},
	}
	for _, transport := range transports {
		s := newServer(t, mux, transport)
		for _, test := range tests {
			status, code, body := test.call.do(t, s.newClient(t), s.url)
			if test.refused != (status == http.StatusForbidden) || test.refused && code != "permission_denied" || !test.refused && status != http.StatusOK {
				t.Errorf("%s: %v: %d, %s", transport.name, test.call, status, body)
			}
		}
	}
}
