package chatsvc_test

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// Bad input gets the same code and text over every protocol, and nothing of it
// is stored.
func TestBadInput(t *testing.T) {
	t.Parallel()
	basic := func(credentials string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(credentials))
	}
	tests := []struct {
		name   string
		header http.Header
		msg    *chatpb.ChatMessage // nil: a call to messageList
		code   connect.Code
		text   string // a part of the error's text
	}{
		{"no credentials", http.Header{}, text("x"), connect.CodeUnauthenticated, "no credentials"},
		{"no credentials for the stream", http.Header{}, nil, connect.CodeUnauthenticated, "no credentials"},
		{"name without password", http.Header{"User-Name": {"user1"}}, text("x"), connect.CodeUnauthenticated, "no credentials"},
		{"wrong password", http.Header{"User-Name": {"user1"}, "User-Password": {"x"}}, text("x"), connect.CodeUnauthenticated, "user name or password is wrong"},
		{"wrong password for the stream", http.Header{"User-Name": {"user1"}, "User-Password": {"x"}}, nil, connect.CodeUnauthenticated, "user name or password is wrong"},
		{"unknown user", http.Header{"User-Name": {"nobody"}, "User-Password": {"qwerty"}}, text("x"), connect.CodeUnauthenticated, "user name or password is wrong"},
		{"wrong basic", http.Header{"Authorization": {basic("user1:x")}}, text("x"), connect.CodeUnauthenticated, "user name or password is wrong"},
		{"malformed basic", http.Header{"Authorization": {"Basic %%%"}}, text("x"), connect.CodeUnauthenticated, "base64 of NAME:PASSWORD"},
		{"basic without colon", http.Header{"Authorization": {basic("user1")}}, text("x"), connect.CodeUnauthenticated, "no colon"},
		{"basic that is not UTF-8", http.Header{"Authorization": {basic("user1:\xff")}}, text("x"), connect.CodeUnauthenticated, "not UTF-8"},
		{"bearer", http.Header{"Authorization": {"Bearer abc"}}, text("x"), connect.CodeUnauthenticated, "not Basic"},
		{"authorization wins", header("Authorization", basic("user1:x")), text("x"), connect.CodeUnauthenticated, "user name or password is wrong"},
		{"content over the limit", header(), text(strings.Repeat("x", 1001)), connect.CodeResourceExhausted, "at most 1000 are allowed"},
		{"body over the limit", header(), text(strings.Repeat("x", 200_000)), connect.CodeResourceExhausted, "at most 1000 bytes of content"},
		{"unknown type", header(), &chatpb.ChatMessage{Type: 7}, connect.CodeInvalidArgument, "Unknown"},
		{"negative type", header(), &chatpb.ChatMessage{Type: -1}, connect.CodeInvalidArgument, "Unknown"},
		{"text that is not UTF-8", header(), text("a\xffb"), connect.CodeInvalidArgument, "not UTF-8"},
		{"offset that is no number", header("Chat-Offset", "first"), nil, connect.CodeInvalidArgument, "Chat-Offset must be N"},
		{"offset -0", header("Chat-Offset", "-0"), nil, connect.CodeInvalidArgument, "Chat-Offset must be N"},
		{"offset +1", header("Chat-Offset", "+1"), nil, connect.CodeInvalidArgument, "Chat-Offset must be N"},
		{"offset of 65 bits", header("Chat-Offset", "18446744073709551616"), nil, connect.CodeInvalidArgument, "Chat-Offset must be N"},
		{"offset twice", twice("Chat-Offset", "1"), nil, connect.CodeInvalidArgument, "occurs 2 times"},
		{"epoch too long", header("Chat-Epoch", strings.Repeat("x", 129)), nil, connect.CodeInvalidArgument, "Chat-Epoch"},
		{"epoch with a space", header("Chat-Epoch", "a b"), nil, connect.CodeInvalidArgument, "Chat-Epoch"},
		{"idempotency key too long", header("Idempotency-Key", strings.Repeat("x", 129)), text("x"), connect.CodeInvalidArgument, "Idempotency-Key"},
		{"idempotency key with a tab", header("Idempotency-Key", "a\tb"), text("x"), connect.CodeInvalidArgument, "Idempotency-Key"},
	}
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		for _, test := range tests {
			client := f.with(t, test.header)
			var err error
			if test.msg == nil {
				err = receiveError(ctx, client)
			} else {
				_, err = client.SendMessage(ctx, test.msg)
			}
			if code := connect.CodeOf(err); code != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%s: %v, code %v with %q was due", test.name, err, test.code, test.text)
			}
			var coded *connect.Error
			if errors.As(err, &coded) && test.code == connect.CodeUnauthenticated && strings.HasPrefix(f.protocol.name, "connect") {
				if got := coded.Meta().Get("WWW-Authenticate"); !strings.HasPrefix(got, "Basic realm=") {
					t.Errorf("%s: WWW-Authenticate = %q", test.name, got)
				}
			} else if coded != nil && coded.Meta().Get("WWW-Authenticate") != "" {
				t.Errorf("%s: WWW-Authenticate in gRPC: %v", test.name, coded.Meta())
			}
		}
		if sub := chattest.Subscribe(ctx, t, f.as(t, "user1", "qwerty")); len(sub.Pending) > 0 {
			t.Errorf("refused messages are in the history: %v", sub.Pending)
		}
	}, chatsvc.WithMaxContent(1000))
}

func twice(name, value string) http.Header {
	h := header()
	h[name] = []string{value, value}
	return h
}

// All input that Qt's reference server accepts is accepted.
func TestLenientInput(t *testing.T) {
	t.Parallel()
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		client := f.as(t, "user1", "qwerty")
		sub := chattest.Subscribe(ctx, t, client)
		for _, msg := range []*chatpb.ChatMessage{
			{},
			{Content: []byte("\xff\x00\xfe")},
			{Content: []byte("no picture"), Type: chatpb.ChatMessage_Image},
			{Content: []byte("nul \x00 and line\nbreak"), Type: chatpb.ChatMessage_Text, Timestamp: 1<<64 - 1},
		} {
			if strings.HasSuffix(f.protocol.name, "json") && bytes.HasPrefix(msg.GetContent(), []byte("\xff")) {
				// JSON leaves the type Unknown out: this may as well be text that was not encoded.
				if _, err := client.SendMessage(ctx, msg); !contains(err, "base64") || !contains(err, "text/plain") {
					t.Errorf("%v: %v", msg, err)
				}
				continue
			}
			send(ctx, t, client, msg)
			got := sub.Next()
			if !bytes.Equal(got.GetContent(), msg.GetContent()) || got.GetType() != msg.GetType() {
				t.Errorf("%v came back as %v", msg, got)
			}
			if msg.GetTimestamp() != 0 && got.GetTimestamp() != msg.GetTimestamp() {
				t.Errorf("timestamp %d came back as %d", msg.GetTimestamp(), got.GetTimestamp())
			}
		}
	})
}

func TestBasicCredentials(t *testing.T) {
	t.Parallel()
	users := &chatpb.Users{Users: []*chatpb.User{{Name: "zoë", Password: "a:b: ç"}}}
	forEachFace(t, func(t *testing.T, f face) {
		ctx := chattest.Context(t, patience)
		token := base64.StdEncoding.EncodeToString([]byte("zoë:a:b: ç"))
		for _, h := range []http.Header{
			{"Authorization": {"Basic " + token}},
			{"Authorization": {"basic  " + token}},
			{"Authorization": {"Basic " + token}, "User-Name": {"zoë"}, "User-Password": {"wrong"}},
			{"User-Name": {"zoë"}, "User-Password": {"a:b: ç"}},
			{"User-Name": {"first", "zoë"}, "User-Password": {"a:b: ç"}}, // the last counts, as for Qt's server
		} {
			client := f.with(t, h)
			send(ctx, t, client, text("hi"))
			if got := chattest.Subscribe(ctx, t, client).Next(); got.GetFrom() != "zoë" {
				t.Errorf("from = %q", got.GetFrom())
			}
		}
	}, chatsvc.WithUsers(users))
}

// rawCall is a request that no generated client would send.
type rawCall struct {
	name        string
	method      string // POST unless given
	path        string // sendMessage unless given
	contentType string
	header      []string // pairs
	body        string
	status      int
	code        string // of the error in the body or the headers
}

func TestRawRequests(t *testing.T) {
	t.Parallel()
	const list = "messageList"
	envelope := func(flags byte, msg string) string {
		return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(msg)))) + msg
	}
	valid, err := proto.Marshal(text("hi"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []rawCall{
		{name: "unknown procedure", path: "noSuchThing", contentType: "application/json", body: "{}", status: 404},
		{name: "GET", method: "GET", contentType: "application/json", status: 405},
		{name: "a method that begins like one", method: "POS", path: list, contentType: "application/json", body: "{}", status: 405},
		{name: "PUT to the stream", method: "PUT", path: list, contentType: "application/json", body: "{}", status: 405},
		{name: "form", contentType: "multipart/form-data; boundary=x", body: "{}", status: 415},
		{name: "text in another charset", contentType: "text/plain; charset=latin1", body: "hi", status: 415},
		{name: "text that is not UTF-8", contentType: "text/plain", body: "a\xffb", status: 400, code: "invalid_argument"},
		{name: "large text", contentType: "text/plain", body: strings.Repeat("x", 1<<20+1), status: 413, code: "resource_exhausted"},
		{name: "large image", contentType: "image/png", body: strings.Repeat("x", 2<<20), status: 413, code: "resource_exhausted"},
		{name: "text without credentials", contentType: "text/plain", header: []string{"User-Password", "x"}, body: "hi", status: 401, code: "unauthenticated"},
		{name: "compressed text", contentType: "text/plain", header: []string{"Content-Encoding", "gzip"}, body: "hi", status: 501, code: "unimplemented"},
		{name: "text that was taken for base64", contentType: "application/json", body: `{"content":"hell"}`, status: 400, code: "invalid_argument"},
		{name: "no content type", body: "{}", status: 415},
		{name: "form to the stream", path: list, contentType: "text/plain", body: "{}", status: 415},
		{name: "unary content type for the stream", path: list, contentType: "application/proto", status: 415},

		{name: "malformed JSON", contentType: "application/json", body: `{"content":`, status: 400, code: "invalid_argument"},
		{name: "empty JSON", contentType: "application/json", body: ``, status: 400, code: "invalid_argument"},
		{name: "unknown JSON field", contentType: "application/json", body: `{"text":"hi"}`, status: 400, code: "invalid_argument"},
		{name: "unknown type in JSON", contentType: "application/json", body: `{"type":"Video"}`, status: 400, code: "invalid_argument"},
		{name: "content that is not base64", contentType: "application/json; charset=utf-8", body: `{"content":"?"}`, status: 400, code: "invalid_argument"},
		{name: "malformed protobuf", contentType: "application/proto", body: "\xff\xff", status: 400, code: "invalid_argument"},
		{name: "from that is not UTF-8", contentType: "application/proto", body: "\x22\x01\xff", status: 400, code: "invalid_argument"},
		{name: "compressed JSON", contentType: "application/json", header: []string{"Content-Encoding", "gzip"}, body: "{}", status: 501, code: "unimplemented"},
		{name: "large JSON", contentType: "application/json", body: strings.Repeat(" ", 2<<20), status: 413, code: "resource_exhausted"},
		{name: "JSON with an unknown charset", contentType: "application/json; charset=latin1", body: "{}", status: 415},
		{name: "grpc with an unknown codec", contentType: "application/grpc+thrift", body: "{}", status: 415},
		{name: "large lie", contentType: "application/json", header: []string{"Content-Length", "9999999"}, body: "{}", status: 413, code: "resource_exhausted"},

		{name: "lines: malformed", path: list, contentType: "application/json", body: `{`, status: 400, code: "invalid_argument"},
		{name: "lines: unknown field", path: list, contentType: "application/json", body: `{"offset":1}`, status: 400, code: "invalid_argument"},
		{name: "lines: no JSON object", path: list, contentType: "application/json", body: `[]`, status: 400, code: "invalid_argument"},
		{name: "lines: compressed", path: list, contentType: "application/json", header: []string{"Content-Encoding", "br"}, body: "{}", status: 501, code: "unimplemented"},
		{name: "lines: large", path: list, contentType: "application/json", body: strings.Repeat(" ", 100<<10), status: 413, code: "resource_exhausted"},
		{name: "lines: bad offset", path: list, contentType: "application/json", header: []string{"Chat-Offset", "x"}, body: "{}", status: 400, code: "invalid_argument"},
		{name: "lines: wrong password", path: list, contentType: "application/json", header: []string{"User-Password", "x"}, body: "{}", status: 401, code: "unauthenticated"},

		{name: "grpc-web: wrong password", contentType: "application/grpc-web", header: []string{"User-Password", "x"}, body: envelope(0, ""), status: 200, code: "16"},
		{name: "grpc-web: cut envelope", contentType: "application/grpc-web", body: "\x00\x00", status: 200, code: "3"},
		{name: "grpc-web: cut message", contentType: "application/grpc-web", body: envelope(0, string(valid))[:7], status: 200, code: "3"},
		{name: "grpc-web: no message", contentType: "application/grpc-web", body: "", status: 200, code: "3"},
		{name: "grpc-web: two messages", contentType: "application/grpc-web", body: envelope(0, string(valid)) + envelope(0, string(valid)), status: 200, code: "12"},
		{name: "grpc-web: strange flags", contentType: "application/grpc-web", body: envelope(4, string(valid)), status: 200, code: "3"},
		{name: "grpc-web: malformed protobuf", contentType: "application/grpc-web+proto", body: envelope(0, "\xff\xff"), status: 200, code: "3"},
		{name: "grpc-web: malformed JSON", contentType: "application/grpc-web+json", body: envelope(0, "{"), status: 200, code: "3"},
		{name: "grpc-web: compressed", contentType: "application/grpc-web", header: []string{"Grpc-Encoding", "gzip"}, body: envelope(1, "x"), status: 200, code: "12"},
		{name: "grpc-web: compressed without saying how", contentType: "application/grpc-web", body: envelope(1, "x"), status: 200, code: "12"},
		{name: "grpc-web: announces 4 GiB", contentType: "application/grpc-web", body: "\x00\xff\xff\xff\xff", status: 200, code: "8"},
		{name: "grpc-web: bad timeout", contentType: "application/grpc-web", header: []string{"Grpc-Timeout", "soon"}, body: envelope(0, string(valid)), status: 200, code: "3"},
	}
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			client := s.newClient(t)
			tests := slices.Clone(tests)
			for _, test := range tests {
				if strings.HasPrefix(test.contentType, "application/grpc-web") && transport.http2 {
					test.name = strings.Replace(test.name, "-web", "", 1)
					test.contentType = strings.Replace(test.contentType, "-web", "", 1)
					tests = append(tests, test)
				}
			}
			for _, test := range tests {
				status, code, body := test.do(t, client, s.url)
				if status != test.status || code != test.code {
					t.Errorf("%s: status %d and code %q, %d and %q were due; body %q", test.name, status, code, test.status, test.code, body)
				}
				if status == http.StatusUnsupportedMediaType && !strings.Contains(body, "application/json") {
					t.Errorf("%s: the answer does not say what to send: %q", test.name, body)
				}
				if (test.code == "unimplemented" || test.code == "12") && !strings.Contains(body, "identity") && !strings.Contains(body, "multiple messages") {
					t.Errorf("%s: the answer does not name identity: %q", test.name, body)
				}
			}
		})
	}
}

// do returns the response's status, its error's code and all of its text.
func (c rawCall) do(t *testing.T, client *http.Client, base string) (status int, code, body string) {
	t.Helper()
	method, path := http.MethodPost, "sendMessage"
	if c.method != "" {
		method = c.method
	}
	if c.path != "" {
		path = c.path
	}
	req, err := http.NewRequestWithContext(chattest.Context(t, patience), method, base+"/"+chatconnect.SimpleChatName+"/"+path, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header(c.header...)
	if length := req.Header.Get("Content-Length"); length != "" {
		req.Header.Del("Content-Length")
		req.ContentLength, err = strconv.ParseInt(length, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		// The announced bytes never come: the server answers without them.
		reader, writer := io.Pipe()
		t.Cleanup(func() { _ = writer.Close() })
		req.Body = reader
		go func() { _, _ = io.WriteString(writer, c.body) }()
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	for _, fields := range []http.Header{res.Header, res.Trailer} {
		if status := fields.Get("Grpc-Status"); status != "" {
			return res.StatusCode, status, fields.Get("Grpc-Message")
		}
	}
	var wire struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(data, &wire) // not every answer is JSON
	return res.StatusCode, wire.Code, string(data)
}

// A method that a procedure has not is answered with all those that it has.
func TestMethodsAreTheProcedures(t *testing.T) {
	t.Parallel()
	_, handler := newService(t).Handler()
	for _, test := range []struct{ method, path, contentType, allow string }{
		{http.MethodHead, chatconnect.SimpleChatMessageListProcedure, "", "GET, POST"},
		{http.MethodDelete, chatconnect.SimpleChatMessageListProcedure, "application/json", "GET, POST"},
		{http.MethodHead, chatconnect.SimpleChatSendMessageProcedure, "", "POST"},
		{http.MethodGet, chatconnect.SimpleChatSendMessageProcedure, "application/x-ndjson", "POST"},
	} {
		req := httptest.NewRequestWithContext(chattest.Context(t, patience), test.method, test.path, http.NoBody)
		req.Header.Set("Content-Type", test.contentType)
		res := httptest.NewRecorder()
		handler.ServeHTTP(res, req)
		if got := res.Header().Get("Allow"); res.Code != http.StatusMethodNotAllowed || got != test.allow {
			t.Errorf("%s %s: %d, %q", test.method, test.path, res.Code, got)
		}
	}
}
