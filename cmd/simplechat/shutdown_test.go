package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// stopLimit is how long a stop may take whatever the clients do. The server
// promises 5 s; the rest is for a busy machine.
const stopLimit = 10 * time.Second

// largeHistory is how many messages of 1 MiB are more than the socket buffers of
// a loopback connection hold: a client that takes no data blocks its stream.
const largeHistory = 24

func TestSignalEndsServer(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]syscall.Signal{"SIGTERM": syscall.SIGTERM, "SIGINT": syscall.SIGINT} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			p := startServer(t)
			var readers []*chattest.Subscription
			for _, opts := range protocols {
				readers = append(readers, chattest.Subscribe(ctx, t, p.client("user1", opts...)))
			}
			lines := openLines(ctx, t, p)
			send(ctx, t, p.client("user2"), text("last words"))
			p.signal(sig)
			for _, reader := range readers {
				if got := reader.Next(); string(got.GetContent()) != "last words" {
					t.Errorf("got %v, what was acknowledged before the end was due", got)
				}
				reader.EndsWith(connect.CodeUnavailable)
			}
			if got := lines(); !strings.Contains(got, `"content":"bGFzdCB3b3Jkcw=="`) || !strings.Contains(got, `{"code":"unavailable"`) {
				t.Errorf("curl's stream ended with %q", got)
			}
			if code := p.wait(stopLimit); code != 0 {
				t.Errorf("exit code %d", code)
			}
			if log := p.logText(); strings.Contains(log, "level=WARN") || !strings.Contains(log, "msg=stopped") {
				t.Errorf("log of an end in good order:\n%s", log)
			}
		})
	}
}

// protocols are the client options for each protocol.
var protocols = map[string][]connect.ClientOption{
	"connect":  nil,
	"grpc":     {connect.WithGRPC()},
	"grpc-web": {connect.WithGRPCWeb()},
}

// openLines opens curl's stream, and returns when its first line has arrived. The
// function that it returns reads the rest up to the end, which is a cut response, as for
// every stream in lines that ends with an error.
func openLines(ctx context.Context, tb testing.TB, p *process) func() string {
	tb.Helper()
	req := p.request(http.MethodPost, chatconnect.SimpleChatMessageListProcedure, "{}").WithContext(ctx)
	res, err := testkit.As{User: "user1", Base: testkit.NewTransport(tb, false)}.RoundTrip(req)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = res.Body.Close() })
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); line != "{}\n" {
		tb.Fatalf("first line %q, %v", line, err)
	}
	return func() string {
		tb.Helper()
		rest, err := io.ReadAll(body)
		if !errors.Is(err, io.ErrUnexpectedEOF) {
			tb.Errorf("curl's stream ended with %q: %v", rest, err)
		}
		return string(rest)
	}
}

// Clients that read no data, or have a stream of another service, do not keep the server
// running. While it waits for them, health checks answer "not serving", and the streams
// of others have ended.
func TestStuckClientsDoNotKeepServer(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServer(t)
	fillHistory(ctx, t, p)
	subscribeAndStopReading(t, p)
	// HTTP/2: nobody reads the second batch, so the flow-control window closes.
	chattest.Subscribe(ctx, t, p.client("user3", connect.WithGRPC()))
	reflection := grpcreflect.NewClient(&http.Client{Transport: testkit.NewTransport(t, true)}, p.url(""), connect.WithGRPC()).NewStream(ctx)
	if _, err := reflection.ListServices(); err != nil {
		t.Fatal(err)
	}
	reader := chattest.Subscribe(ctx, t, atEnd(p))
	if status := health(t, p); status != serving {
		t.Errorf("health before the end: %q", status)
	}

	start := time.Now()
	p.signal(syscall.SIGTERM)
	reader.EndsWith(connect.CodeUnavailable)
	for deadline := time.Now().Add(patience); health(t, p) != notServing; {
		if time.Now().After(deadline) {
			t.Fatal("health checks do not say that the server is ending")
		}
	}
	for range 10 { // each, not only the first, is answered
		if status := health(t, p); status != notServing {
			t.Errorf("health at the end: %q", status)
		}
	}
	if code := p.wait(stopLimit); code != 0 {
		t.Errorf("exit code %d", code)
	}
	t.Logf("ended after %v", time.Since(start))
	if log := p.logText(); !strings.Contains(log, "some streams did not end in time") {
		t.Errorf("no client was stuck, the test shows nothing:\n%s", log)
	}
}

// A second signal ends the server at once, also while it waits.
func TestSecondSignalKills(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	fillHistory(chattest.Context(t, patience), t, p)
	subscribeAndStopReading(t, p)
	p.signal(syscall.SIGINT)
	p.waitLog(regexp.MustCompile(`msg="shutting down"`))
	// The first signal's handler is taken away at about the time of that line:
	// a signal that comes before is part of the first.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		select {
		case <-again.C:
			_ = p.cmd.Process.Signal(syscall.SIGINT) // an error is the process's end
		case <-p.exited:
			if code := p.wait(patience); code != -1 {
				t.Errorf("exit code %d, an end by the second signal was due", code)
			}
			return
		}
	}
}

// fillHistory sends more than socket buffers hold.
func fillHistory(ctx context.Context, tb testing.TB, p *process) {
	tb.Helper()
	client := p.client("user5")
	for range largeHistory {
		send(ctx, tb, client, image(1<<20))
	}
}

// subscribeAndStopReading calls messageList over a plain connection, and reads
// the head of the response and nothing else.
func subscribeAndStopReading(tb testing.TB, p *process) {
	tb.Helper()
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"+
		"User-Name: user4\r\nUser-Password: qwerty\r\nContent-Length: 2\r\n\r\n{}", chatconnect.SimpleChatMessageListProcedure, p.addr)
	status, err := bufio.NewReaderSize(conn, 16).ReadString('\n')
	if err != nil || !strings.Contains(status, "200 OK") {
		tb.Fatalf("status %q, %v", status, err)
	}
}

// atEnd returns a client whose stream begins with the next message.
func atEnd(p *process) chatconnect.SimpleChatClient {
	rt := withHeader{"Chat-Offset", "end", testkit.As{User: "user1", Base: testkit.NewTransport(p.tb, true)}}
	return chatconnect.NewSimpleChatClient(&http.Client{Transport: rt}, p.url(""), connect.WithGRPC())
}

// withHeader is a transport that adds a header field.
type withHeader struct {
	name, value string
	base        http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (h withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(h.name, h.value)
	return h.base.RoundTrip(r)
}
