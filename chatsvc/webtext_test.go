package chatsvc_test

import (
	"bufio"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// webTextTransport lets a client of binary gRPC-Web speak the text mode.
type webTextTransport struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (t webTextTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	call := req.Clone(req.Context())
	call.Header.Set("Content-Type", "application/grpc-web-text")
	call.ContentLength = -1
	call.Body = io.NopCloser(strings.NewReader(base64.StdEncoding.EncodeToString(body)))
	res, err := t.RoundTripper.RoundTrip(call)
	if err != nil {
		return nil, err
	}
	if got := res.Header.Get("Content-Type"); res.StatusCode == http.StatusOK && got != "application/grpc-web-text" {
		return nil, fmt.Errorf("content type %q", got)
	}
	res.Header.Set("Content-Type", "application/grpc-web+proto")
	res.Body = &webTextReader{Closer: res.Body, from: bufio.NewReader(res.Body)}
	return res, nil
}

// webTextReader decodes a response: four characters at a time, so that a part which is
// not padded for itself hangs or fails.
type webTextReader struct {
	io.Closer

	from    *bufio.Reader
	decoded []byte
}

// Read implements [io.Reader].
func (r *webTextReader) Read(p []byte) (int, error) {
	if len(r.decoded) == 0 {
		var quantum [4]byte
		if _, err := io.ReadFull(r.from, quantum[:]); err != nil {
			return 0, err
		}
		decoded, err := base64.StdEncoding.DecodeString(string(quantum[:]))
		if err != nil {
			return 0, err
		}
		r.decoded = decoded
	}
	n := copy(p, r.decoded)
	r.decoded = r.decoded[n:]
	return n, nil
}

// On the wire, each flush is base64 that is padded for itself, and the trailers are the
// last part.
func TestWebTextOnTheWire(t *testing.T) {
	t.Parallel()
	msg, err := proto.Marshal(text("hi"))
	if err != nil {
		t.Fatal(err)
	}
	enveloped := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(msg))), msg...)
	encode := base64.StdEncoding.EncodeToString
	tests := []struct{ name, body, status string }{
		{"whole", encode(enveloped), "0"},
		{"in padded parts", encode(enveloped[:1]) + encode(enveloped[1:5]) + encode(enveloped[5:]), "0"},
		{"in lines, as base64(1) breaks them", encode(enveloped)[:6] + "\r\n" + encode(enveloped)[6:] + "\n", "0"},
		{"not base64", encode(enveloped)[:8] + "%%%%", "3"},
		{"cut", encode(enveloped)[:len(encode(enveloped))-2], "3"},
		{"not padded", strings.TrimRight(encode(enveloped[:5]), "="), "3"},
		{"cut message", encode(enveloped[:7]), "3"},
		{"empty", "", "3"},
		{"too large", strings.Repeat("AAAA", 1<<20), "8"},
	}
	for _, transport := range transports {
		t.Run(transport.name, func(t *testing.T) {
			t.Parallel()
			svc := newService(t)
			mux := http.NewServeMux()
			mux.Handle(svc.Handler())
			s := newServer(t, mux, transport)
			for _, contentType := range []string{"application/grpc-web-text", "application/grpc-web-text+proto"} {
				for _, test := range tests {
					call := rawCall{name: test.name, contentType: contentType, body: test.body}
					status, code, body := call.do(t, s.newClient(t), s.url)
					if code == "" {
						_, code, _ = strings.Cut(decodeWebText(t, body), "grpc-status: ")
						code, _, _ = strings.Cut(code, "\r\n")
					}
					if status != http.StatusOK || code != test.status {
						t.Errorf("%s, %s: %d, %q: %s", contentType, test.name, status, code, decodeWebText(t, body))
					}
				}
			}
			call := rawCall{name: "stream", path: "messageList", contentType: "application/grpc-web-text", header: []string{"Chat-Until", "end"}, body: encode(make([]byte, 5))}
			_, _, body := call.do(t, s.newClient(t), s.url)
			var batch chatpb.ChatMessages
			all := decodeWebText(t, body)
			size := binary.BigEndian.Uint32([]byte(all[1:5]))
			if err := proto.Unmarshal([]byte(all[5:5+size]), &batch); err != nil || len(batch.GetMessages()) != 6 || all[5+size] != 0x80 || !strings.Contains(all, "grpc-status: 0") {
				t.Errorf("%v, %v, %q", err, &batch, all)
			}
		})
	}
}

// decodeWebText returns what parts of base64 hold.
func decodeWebText(tb testing.TB, body string) string {
	tb.Helper()
	decoded, err := io.ReadAll(&webTextReader{from: bufio.NewReader(strings.NewReader(body))})
	if err != nil {
		tb.Fatalf("%q: %v", body, err)
	}
	return string(decoded)
}

// The JSON of gRPC-Web has no text mode.
func TestWebTextOfJSON(t *testing.T) {
	t.Parallel()
	svc := newService(t)
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	s := newServer(t, mux, transports[0])
	call := rawCall{contentType: "application/grpc-web-text+json", body: "e30="}
	if status, _, _ := call.do(t, s.newClient(t), s.url); status != http.StatusUnsupportedMediaType {
		t.Errorf("%d for %s", status, chatconnect.SimpleChatSendMessageProcedure)
	}
}
