//go:build unix

package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"connectrpc.com/connect"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Calls are traced when the environment says where to; no password or content is in it.
func TestTracing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards names
	var names []string
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collectorpb.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &request) != nil {
			t.Errorf("no traces: %v", err)
		}
		for _, secret := range append(nosecret.Secrets, "a message's content") {
			if bytes.Contains(body, []byte(secret)) {
				t.Errorf("%q is in a trace", secret)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range request.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, span := range scope.GetSpans() {
					names = append(names, span.GetName())
				}
			}
		}
	}))
	defer collector.Close()
	p := startServerEnv(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL}, "--listen=127.0.0.1:0")
	ctx := chattest.Context(t, patience)
	sub := chattest.Subscribe(ctx, t, p.client("user1", connect.WithGRPC()))
	send(ctx, t, p.client("user2"), text("a message's content"))
	sub.Next()
	if _, err := p.client("user2:wr0ng").SendMessage(ctx, &chatpb.ChatMessage{}); codeOf(t, err) != connect.CodeUnauthenticated {
		t.Error(err)
	}
	p.stop()
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{"qtgrpc.examples.chat.SimpleChat/sendMessage", "qtgrpc.examples.chat.SimpleChat/messageList"} {
		if !slices.Contains(names, want) {
			t.Errorf("%s is not among %q", want, names)
		}
	}
}

// A protocol that the server does not speak is named.
func TestTracingProtocol(t *testing.T) {
	t.Parallel()
	got := runProgram(t, []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "serve", "--memory", "--listen=127.0.0.1:0")
	checkOneLine(t, got, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http/protobuf")
}
