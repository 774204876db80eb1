package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	reflectpb "google.golang.org/grpc/reflection/grpc_reflection_v1"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

const healthCheck = "/grpc.health.v1.Health/Check"

// The names of gRPC's SERVING and NOT_SERVING in grpchealth's JSON.
const (
	serving    = "SERVING_STATUS_SERVING"
	notServing = "SERVING_STATUS_NOT_SERVING"
)

// health returns the chat's status from a health check in Connect's JSON.
func health(tb testing.TB, p *process) string {
	tb.Helper()
	res, body := p.post(healthCheck, `{"service":"`+chatconnect.SimpleChatName+`"}`)
	var answer struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || res.StatusCode != http.StatusOK {
		tb.Fatalf("health check: %s: %s", res.Status, body)
	}
	return answer.Status
}

// awaitHealth returns when a health check answers status.
func awaitHealth(tb testing.TB, p *process, status string) {
	tb.Helper()
	for ctx := chattest.Context(tb, patience); health(tb, p) != status; {
		if ctx.Err() != nil {
			tb.Fatalf("no health check answered %s", status)
		}
		time.Sleep(pause) // the server has something else to do, too
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	if got := health(t, p); got != serving {
		t.Errorf("by Connect: %q", got)
	}
	client := connect.NewClient[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse](
		&http.Client{Transport: testkit.NewTransport(t, true)}, p.url(healthCheck), connect.WithGRPC())
	for _, service := range []string{"", chatconnect.SimpleChatName} {
		res, err := client.CallUnary(chattest.Context(t, patience), connect.NewRequest(&healthpb.HealthCheckRequest{Service: service}))
		if err != nil || res.Msg.GetStatus() != healthpb.HealthCheckResponse_SERVING {
			t.Errorf("by gRPC, of %q: %v, %v", service, res, err)
		}
	}
	_, err := client.CallUnary(chattest.Context(t, patience), connect.NewRequest(&healthpb.HealthCheckRequest{Service: "other"}))
	if code := codeOf(t, err); code != connect.CodeNotFound {
		t.Errorf("of an unknown service: %v", err)
	}
}

// One that watches health is told at once, then when the server is no longer ready, and
// is let go when it leaves. An unknown service is refused.
func TestHealthWatch(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--drain-delay", "1s")
	client := connect.NewClient[healthpb.HealthCheckRequest, healthpb.HealthCheckResponse](
		&http.Client{Transport: testkit.NewTransport(t, true)}, p.url("/grpc.health.v1.Health/Watch"), connect.WithGRPC())
	unknown, err := client.CallServerStream(chattest.Context(t, patience), connect.NewRequest(&healthpb.HealthCheckRequest{Service: "other"}))
	if err != nil {
		t.Fatal(err)
	}
	if unknown.Receive() || codeOf(t, unknown.Err()) != connect.CodeNotFound {
		t.Errorf("of an unknown service: %v", unknown.Err())
	}
	stream, err := client.CallServerStream(chattest.Context(t, patience), connect.NewRequest(&healthpb.HealthCheckRequest{Service: chatconnect.SimpleChatName}))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	if !stream.Receive() || stream.Msg().GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("at first: %v, %v", stream.Msg(), stream.Err())
	}
	p.signal(syscall.SIGTERM)
	if !stream.Receive() || stream.Msg().GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Fatalf("when it ends: %v, %v", stream.Msg(), stream.Err())
	}
	if stream.Receive() {
		t.Errorf("after that: %v", stream.Msg())
	}
	p.wait(patience)
}

func TestReflection(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	for _, version := range []string{"v1", "v1alpha"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			// The two versions differ in the name of the service only.
			client := connect.NewClient[reflectpb.ServerReflectionRequest, reflectpb.ServerReflectionResponse](
				&http.Client{Transport: testkit.NewTransport(t, true)},
				p.url("/grpc.reflection."+version+".ServerReflection/ServerReflectionInfo"), connect.WithGRPC())
			stream := client.CallBidiStream(chattest.Context(t, patience))
			defer func() { _ = stream.CloseRequest() }()
			err := stream.Send(&reflectpb.ServerReflectionRequest{
				MessageRequest: &reflectpb.ServerReflectionRequest_ListServices{},
			})
			if err != nil {
				t.Fatal(err)
			}
			res, err := stream.Receive()
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, service := range res.GetListServicesResponse().GetService() {
				names = append(names, service.GetName())
			}
			if !slices.Contains(names, chatconnect.SimpleChatName) {
				t.Errorf("services %q", names)
			}
		})
	}
	stream := grpcreflect.NewClient(&http.Client{Transport: testkit.NewTransport(t, true)}, p.url(""), connect.WithGRPC()).NewStream(chattest.Context(t, patience))
	files, err := stream.FileContainingSymbol(chatconnect.SimpleChatName)
	if err != nil || len(files) == 0 || files[0].GetPackage() != "qtgrpc.examples.chat" {
		t.Errorf("schema: %v, %v", files, err)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	p := startServer(t, "--tls-cert", cert, "--tls-key", key)
	for _, http2 := range []bool{false, true} {
		name, want := "http1", "HTTP/1.1"
		if http2 {
			name, want = "http2", "HTTP/2.0"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := chattest.Context(t, patience)
			rt := testkit.NewTransport(t, http2)
			rt.TLSClientConfig = &tls.Config{RootCAs: roots}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+p.addr+healthCheck, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			if res, body := do(t, rt, req); res.Proto != want || body != `{"status":"`+serving+`"}` {
				t.Errorf("%s: %s", res.Proto, body)
			}
			var opts []connect.ClientOption
			if http2 {
				opts = append(opts, connect.WithGRPC())
			}
			client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user1", Base: rt}}, "https://"+p.addr, opts...)
			send(ctx, t, client, text(name))
			sub := chattest.Subscribe(ctx, t, client)
			for string(sub.Next().GetContent()) != name {
			}
		})
	}
	t.Run("plain", func(t *testing.T) {
		t.Parallel()
		if res, body := p.post(healthCheck, "{}"); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", res.Status, body)
		}
	})
}

// certificate writes a certificate for 127.0.0.1 and its key, and returns the files and a
// pool that trusts them.
func certificate(tb testing.TB) (cert, key string, roots *x509.CertPool) {
	tb.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		tb.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		tb.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certPEM)
	cert = tempFile(tb, "cert.pem", string(certPEM))
	key = tempFile(tb, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key, roots
}

func TestCORS(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--cors-origin", "https://chat.example.com", "--cors-origin", "https://other.example.com")
	const send = chatconnect.SimpleChatSendMessageProcedure
	// Browsers sort and lower them (Fetch standard, "CORS-unsafe request-header
	// names").
	const asked = "authorization,chat-epoch,chat-offset,connect-protocol-version,connect-timeout-ms,content-type," +
		"grpc-timeout,idempotency-key,user-name,user-password,x-grpc-web,x-user-agent"
	preflight := func(origin string) http.Header {
		req := p.request(http.MethodOptions, send, "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", asked)
		res, _ := do(t, testkit.NewTransport(t, false), req)
		if res.StatusCode >= 300 {
			t.Errorf("preflight of %s: %s", origin, res.Status)
		}
		return res.Header
	}
	for _, origin := range []string{"https://chat.example.com", "https://other.example.com"} {
		h := preflight(origin)
		if got := h.Get("Access-Control-Allow-Origin"); got != origin {
			t.Errorf("preflight of %s allows the origin %q", origin, got)
		}
		if got := h.Get("Access-Control-Allow-Methods"); got != "POST" {
			t.Errorf("preflight of %s allows the methods %q", origin, got)
		}
		if got := h.Get("Access-Control-Allow-Headers"); got != asked {
			t.Errorf("preflight of %s allows the headers %q, not %q", origin, got, asked)
		}
		for _, password := range []string{"qwerty", "wrong"} { // a page must be able to read errors too
			req := p.request(http.MethodPost, send, `{"content":"aGk=","type":"Text"}`, "Origin", origin)
			res, _ := do(t, testkit.As{User: "user1:" + password, Base: testkit.NewTransport(t, false)}, req)
			if ok := res.StatusCode == http.StatusOK; ok != (password == "qwerty") {
				t.Errorf("password %q: %s", password, res.Status)
			}
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != origin {
				t.Errorf("answer to %s allows the origin %q", origin, got)
			}
			exposed := strings.Split(strings.ToLower(strings.ReplaceAll(res.Header.Get("Access-Control-Expose-Headers"), " ", "")), ",")
			for _, name := range []string{"chat-offset", "chat-epoch", "chat-duplicate", "chat-heartbeat", "grpc-status", "grpc-message"} {
				if !slices.Contains(exposed, name) {
					t.Errorf("answer to %s exposes %q without %s", origin, exposed, name)
				}
			}
		}
	}
	const stranger = "https://chat.example.com.evil.example"
	req := p.request(http.MethodPost, send, `{"content":"aGk=","type":"Text"}`, "Origin", stranger)
	answer, _ := do(t, testkit.As{User: "user1", Base: testkit.NewTransport(t, false)}, req)
	for where, h := range map[string]http.Header{"preflight": preflight(stranger), "answer": answer.Header} {
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				t.Errorf("%s for an origin that is not listed has %s: %q", where, name, h.Get(name))
			}
		}
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	t.Parallel()
	p := startServer(t)
	const send = chatconnect.SimpleChatSendMessageProcedure
	if res, body := p.post(send, `{}`, "X-Large", strings.Repeat("x", 15<<10)); res.StatusCode != http.StatusOK {
		t.Errorf("HTTP/1.1, 15 KiB: %s: %s", res.Status, body)
	}
	// net/http grants 4 KiB more than asked for.
	if res, _ := p.post(send, `{}`, "X-Large", strings.Repeat("x", 21<<10)); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("HTTP/1.1, 21 KiB: %s", res.Status)
	}
	req := p.request(http.MethodPost, send, `{}`, "X-Large", strings.Repeat("x", 21<<10))
	if res, err := (testkit.As{User: "user1", Base: testkit.NewTransport(t, true)}).RoundTrip(req); err == nil { // Go's client knows the server's limit
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("HTTP/2, 21 KiB: %s", res.Status)
		}
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	t.Run("messages", func(t *testing.T) {
		t.Parallel()
		ctx := chattest.Context(t, patience)
		p := startServer(t, "--retain-messages", "3")
		client := p.client("user1")
		send(ctx, t, client, text("1"), text("2"), text("3"), text("4"), text("5"))
		if got := history(t, p); !slices.Equal(got, []string{"3", "4", "5"}) {
			t.Errorf("retained %q", got)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		t.Parallel()
		ctx := chattest.Context(t, patience)
		p := startServer(t, "--retain-bytes", "1KiB")
		first, second := strings.Repeat("1", 600), strings.Repeat("2", 600)
		send(ctx, t, p.client("user1"), text(first), text(second))
		if got := history(t, p); !slices.Equal(got, []string{second}) {
			t.Errorf("retained %q", got)
		}
	})
	t.Run("age", func(t *testing.T) {
		t.Parallel()
		ctx := chattest.Context(t, patience)
		p := startServer(t, "--retain-age", "300ms")
		send(ctx, t, p.client("user1"), text("short-lived"))
		for len(history(t, p)) > 0 {
			if ctx.Err() != nil {
				t.Fatal("the message is still there")
			}
		}
	})
}

// history returns the contents of all messages that a subscriber gets of the past.
func history(tb testing.TB, p *process) []string {
	tb.Helper()
	ctx, call := connect.NewClientContext(chattest.Context(tb, patience))
	call.RequestHeader().Set(chatsvc.HeaderUntil, "end")
	stream, err := p.client("user1").MessageList(ctx, &chatpb.None{})
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var contents []string
	for stream.Receive() {
		for _, msg := range stream.Msg().GetMessages() {
			contents = append(contents, string(msg.GetContent()))
		}
	}
	if err := stream.Err(); err != nil {
		tb.Fatal(err)
	}
	return contents
}

func TestMaxContent(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	client := startServer(t, "--max-content", "1KiB").client("user1")
	send(ctx, t, client, image(1024))
	_, err := client.SendMessage(ctx, image(1025))
	if code := codeOf(t, err); code != connect.CodeResourceExhausted || !strings.Contains(err.Error(), "1024") {
		t.Errorf("too large by a byte: %v", err)
	}
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	sub := chattest.Subscribe(chattest.Context(t, patience), t, startServer(t, "--heartbeat", "20ms").client("user1"))
	for range 3 {
		if !sub.Stream.Receive() {
			t.Fatal(sub.Stream.Err())
		}
		if got := sub.Stream.Msg().GetMessages(); len(got) > 0 {
			t.Errorf("a heartbeat with messages: %v", got)
		}
	}
}

func TestWriteDeadlineCutsStuckClient(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--write-deadline", "200ms")
	ctx, client := chattest.Context(t, patience), p.client("user5")
	for range 16 * largeHistory { // a batch of 64 KiB has four seconds more
		send(ctx, t, client, image(64<<10))
	}
	subscribeAndStopReading(t, p)
	p.waitLog(regexp.MustCompile(`level=WARN msg="subscriber cut" user=user4`))
	p.stop()
}

// The server announces --max-streams in its first frame (RFC 9113, section
// 6.5.2, SETTINGS_MAX_CONCURRENT_STREAMS).
func TestMaxStreams(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--max-streams", "7")
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	emptySettings := []byte{0, 0, 0, 4, 0, 0, 0, 0, 0}
	if _, err := conn.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), emptySettings...)); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, 9)
	if _, err := io.ReadFull(conn, head); err != nil || head[3] != 4 {
		t.Fatalf("first frame %x: %v", head, err)
	}
	settings := make([]byte, binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))
	if _, err := io.ReadFull(conn, settings); err != nil {
		t.Fatal(err)
	}
	const maxConcurrentStreams = 3
	for setting := range slices.Chunk(settings, 6) {
		if binary.BigEndian.Uint16(setting) == maxConcurrentStreams {
			if got := binary.BigEndian.Uint32(setting[2:]); got != 7 {
				t.Errorf("%d streams are announced", got)
			}
			return
		}
	}
	t.Errorf("no limit is announced: %x", settings)
}

// Nothing that a client does to log in shows up in the log, at any level.
func TestNoCredentialInLog(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServer(t, "--log-level", "debug", "--users", testkit.UsersFile(t, "ada:s3cr3t"))
	client := p.client("ada:s3cr3t", connect.WithGRPC())
	send(ctx, t, client, text("content"))
	chattest.Subscribe(ctx, t, client)
	_, err := p.client("ada:wr0ng").SendMessage(ctx, &chatpb.ChatMessage{})
	if code := codeOf(t, err); code != connect.CodeUnauthenticated {
		t.Errorf("wrong password: %v", err)
	}
	p.stop()
	log := []byte(p.logText())
	if !bytes.Contains(log, []byte("subscribed")) {
		t.Errorf("no debug log:\n%s", log)
	}
	for _, secret := range []string{"s3cr3t", "wr0ng", "Basic", "content"} {
		if bytes.Contains(log, []byte(secret)) {
			t.Errorf("%q is in the log:\n%s", secret, log)
		}
	}
}
