//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// installed returns the path of a program of the system. Continuous integration must
// have it.
func installed(tb testing.TB, name string) string {
	tb.Helper()
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin") {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		tb.Fatalf("%s is not installed, and CI=true", name)
	}
	tb.Skipf("%s is not installed", name)
	return ""
}

// fenceOf returns the fence in a language of the operators' README.
func fenceOf(tb testing.TB, language string) string {
	tb.Helper()
	_, rest, ok := strings.Cut(readPage(tb, operatorsPage), "```"+language+"\n")
	text, _, ends := strings.Cut(rest, "```")
	if !ok || !ends {
		tb.Fatalf("no fence in %q", language)
	}
	return text
}

// tlsProxy is a proxy with TLS before a server.
type tlsProxy struct {
	tb    testing.TB
	url   string
	roots *x509.CertPool
}

// newTLSProxy starts a proxy: start gets the port, the files of a certificate, and a file
// with both, and returns the command.
func newTLSProxy(tb testing.TB, start func(port, cert, key, both string) *exec.Cmd) *tlsProxy {
	tb.Helper()
	cert, key, roots := certificate(tb)
	var both []byte
	for _, name := range []string{cert, key} {
		text, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		both = append(both, text...)
	}
	port := chattest.FreePorts(tb, 1)[0]
	cmd := start(port, cert, key, tempFile(tb, "both.pem", string(both)))
	startProcess(tb, cmd, cmd.Start)
	p := &tlsProxy{tb, "https://127.0.0.1:" + port, roots}
	for ctx := chattest.Context(tb, patience); ; {
		if handshake("127.0.0.1:"+port, &tls.Config{RootCAs: roots}) == nil {
			return p
		}
		if ctx.Err() != nil {
			tb.Fatal("the proxy does not answer")
		}
	}
}

// transport returns a transport of its own to the proxy.
func (p *tlsProxy) transport(http2 bool) *http.Transport {
	rt := testkit.NewTransport(p.tb, http2)
	rt.TLSClientConfig = &tls.Config{RootCAs: p.roots}
	return rt
}

// client returns a client below a prefix.
func (p *tlsProxy) client(prefix string, http2 bool, opts ...connect.ClientOption) chatconnect.SimpleChatClient {
	return chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user1", Base: p.transport(http2)}}, p.url+prefix, opts...)
}

// nginx returns what starts nginx with a server block.
func nginx(tb testing.TB, block string) func(port, cert, key, both string) *exec.Cmd {
	path := installed(tb, "nginx")
	return func(port, cert, key, _ string) *exec.Cmd {
		dir := tb.TempDir()
		block := strings.NewReplacer("listen 443", "listen 127.0.0.1:"+port, "/etc/ssl/chat.pem", cert, "/etc/ssl/chat.key", key).Replace(block)
		temp := ""
		for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			temp += name + "_temp_path " + dir + "/" + name + ";\n"
		}
		if os.Getuid() == 0 { // workers must reach the directory, too
			temp = "user root;\n" + "events {}\nhttp {\naccess_log off;\n" + temp
		} else {
			temp = "events {}\nhttp {\naccess_log off;\n" + temp
		}
		text := "daemon off;\nmaster_process off;\nerror_log stderr warn;\npid " + dir + "/pid;\n" + temp + block + "}\n"
		return exec.Command(path, "-p", dir, "-c", tempFile(tb, "nginx.conf", text))
	}
}

// plainBlock is the least that an operator writes.
const plainBlock = `server {
	listen 443 ssl http2;
	ssl_certificate /etc/ssl/chat.pem;
	ssl_certificate_key /etc/ssl/chat.key;
	client_max_body_size 5m;
	location / { proxy_pass http://127.0.0.1:65002; }
}
`

// Behind a proxy everybody sees messages at once, images and history arrive, a stream
// without messages stays, and the page is served.
func TestProxies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		start    func(tb testing.TB, block string) func(port, cert, key, both string) *exec.Cmd
		block    string
		grpc     bool
		prefixes []string
	}{
		{"nginx", nginx, fenceOf(t, "nginx"), true, []string{"", "/chat"}},
		{"nginx with a plain proxy_pass", nginx, plainBlock, false, []string{""}},
		{"caddy", caddy, fenceOf(t, "caddy"), true, []string{"", "/chat"}},
		{"haproxy", haproxy, fenceOf(t, "haproxy"), true, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := startServer(t, "--ops-listen=127.0.0.1:0", "--trusted-proxy=127.0.0.1/32")
			ops := strings.TrimPrefix(server.ops(), "http://127.0.0.1:")
			block := strings.NewReplacer("127.0.0.1:65002", server.addr, "65010", ops).Replace(tt.block)
			p := newTLSProxy(t, tt.start(t, block))
			for _, prefix := range tt.prefixes {
				t.Run("at "+prefix+"/", func(t *testing.T) { behindProxy(t, p, prefix, tt.grpc && prefix == "") })
			}
		})
	}
}

// haproxy returns what starts haproxy with sections.
func haproxy(tb testing.TB, sections string) func(port, cert, key, both string) *exec.Cmd {
	path := installed(tb, "haproxy")
	return func(port, _, _, both string) *exec.Cmd {
		text := strings.NewReplacer("bind :443", "bind 127.0.0.1:"+port, "/etc/ssl/chat-with-key.pem", both).Replace(sections)
		return exec.Command(path, "-db", "-f", tempFile(tb, "haproxy.cfg", text))
	}
}

// caddy returns what starts caddy with a site.
func caddy(tb testing.TB, site string) func(port, cert, key, both string) *exec.Cmd {
	path := installed(tb, "caddy")
	return func(port, cert, key, _ string) *exec.Cmd {
		text := strings.Replace(site, "chat.example.com {", "https://127.0.0.1:"+port+" {\n\tbind 127.0.0.1\n\ttls "+cert+" "+key, 1)
		text = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n" + text
		cmd := exec.Command(path, "run", "--adapter", "caddyfile", "--config", tempFile(tb, "Caddyfile", text))
		cmd.Env = append(os.Environ(), "XDG_DATA_HOME="+tb.TempDir(), "XDG_CONFIG_HOME="+tb.TempDir())
		return cmd
	}
}

// behindProxy checks what clients of a proxy see below a prefix.
func behindProxy(t *testing.T, p *tlsProxy, prefix string, grpc bool) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	clients := map[string]chatconnect.SimpleChatClient{
		"Connect over HTTP/1.1": p.client(prefix, false),
		"Connect over HTTP/2":   p.client(prefix, true),
		"gRPC-Web":              p.client(prefix, false, connect.WithGRPCWeb()),
	}
	if grpc {
		clients["gRPC"] = p.client(prefix, true, connect.WithGRPC())
	}
	sender := p.client(prefix, true)
	send(ctx, t, sender, text("history"), image(1<<20))
	subs := make(map[string]*chattest.Subscription)
	for name, client := range clients {
		subs[name] = chattest.Subscribe(ctx, t, client)
		send(ctx, t, client, text("sent by "+name))
	}
	send(ctx, t, sender, text("live"))
	for name, sub := range subs {
		sizes := 0
		for got := ""; got != "live"; {
			msg := sub.Next()
			sizes += len(msg.GetContent())
			got = string(msg.GetContent())
		}
		if sizes < 1<<20 {
			t.Errorf("%s: %d bytes came", name, sizes)
		}
	}
	status, page := getPage(t, p, prefix+"/")
	if status != http.StatusOK || !strings.Contains(page, "<html") {
		t.Errorf("the page: %d: %.200s", status, page)
	}
	if prefix != "" {
		return // one wait suffices
	}
	for beat := range 3 { // 75 s
		for name, sub := range subs {
			if !sub.Stream.Receive() {
				t.Fatalf("%s: heartbeat %d: %v", name, beat+1, sub.Stream.Err())
			}
		}
	}
	send(ctx, t, sender, text("after idleness"))
	for name, sub := range subs {
		if got := string(sub.Next().GetContent()); got != "after idleness" {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// getPage returns the status and the text of a page.
func getPage(tb testing.TB, p *tlsProxy, path string) (int, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(chattest.Context(tb, patience), http.MethodGet, p.url+path, nil)
	if err != nil {
		tb.Fatal(err)
	}
	res, body := do(tb, p.transport(false), req)
	return res.StatusCode, body
}
