//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// A new certificate is served as soon as both files are complete, or on SIGHUP. A
// connection from before stays, and so does the old pair while the files do not fit.
func TestCertificateIsReloaded(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	cert, key, roots := certificate(t)
	newCert, newKey, newRoots := certificate(t)
	p := startServer(t, "--tls-cert", cert, "--tls-key", key)
	rt := testkit.NewTransport(t, true)
	rt.TLSClientConfig = &tls.Config{RootCAs: roots}
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user1", Base: rt}}, "https://"+p.addr, connect.WithGRPC())
	sub := chattest.Subscribe(ctx, t, client)

	putFile(t, cert, newCert) // a renewal writes one file first
	p.waitLog(regexp.MustCompile(`level=ERROR msg="not reloaded: the old certificate.*private key`))
	if err := handshake(p.addr, &tls.Config{RootCAs: roots}); err != nil {
		t.Errorf("the old certificate, with a broken pair: %v", err)
	}
	putFile(t, key, newKey)
	p.waitLog(regexp.MustCompile(`msg="reloaded the certificate"`))
	if err := handshake(p.addr, &tls.Config{RootCAs: newRoots}); err != nil {
		t.Errorf("the new certificate: %v", err)
	}
	send(ctx, t, client, text("on the old connection"))
	if got := sub.Next(); string(got.GetContent()) != "on the old connection" {
		t.Errorf("got %v", got)
	}
}

// SIGHUP reads the files again even if they seem to be the same, and ends nothing.
func TestHangupReloads(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	p := startServer(t, "--tls-cert", cert, "--tls-key", key)
	p.signal(syscall.SIGHUP)
	p.waitLog(regexp.MustCompile(`msg="reloaded the certificate"`))
	plain := startServer(t)
	sub := chattest.Subscribe(chattest.Context(t, patience), t, plain.client("user1"))
	plain.signal(syscall.SIGHUP)
	plain.waitLog(regexp.MustCompile(`msg="reloading because of SIGHUP"`))
	send(chattest.Context(t, patience), t, plain.client("user1"), text("still here"))
	sub.Next()
}

// putFile puts a copy of a file in the place of another, in one step.
func putFile(tb testing.TB, path, by string) {
	tb.Helper()
	content, err := os.ReadFile(by)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
}

// handshake connects once.
func handshake(addr string, config *tls.Config) error {
	conn, err := tls.Dial("tcp", addr, config)
	if err != nil {
		return err
	}
	return conn.Close()
}

// The fingerprint in the log is that of the certificate which clients see.
func TestSelfSigned(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--tls-self-signed")
	logged := p.waitLog(regexp.MustCompile(`level=WARN .*sha256=([0-9A-F:]+)`))[1]
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	leaf := conn.ConnectionState().PeerCertificates[0]
	if got := fingerprint(tls.Certificate{Certificate: [][]byte{leaf.Raw}}); got != logged {
		t.Errorf("served %s, logged %s", got, logged)
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

// unixTransport dials a socket in the file system and ignores the URL's host.
func unixTransport(tb testing.TB, path string) *http.Transport {
	tb.Helper()
	rt := testkit.NewTransport(tb, true)
	rt.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}
	return rt
}

// A server may listen on several addresses, a path among them; what a server that was
// killed has left there is no hindrance, and a server that runs is.
func TestListensOnSeveralAddresses(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	path := t.TempDir() + "/chat.sock"
	start := func() *process {
		return startServerEnv(t, nil, "--listen", "127.0.0.1:0", "--listen", "unix:"+path)
	}
	first := start()
	first.waitLog(regexp.MustCompile(`msg=listening addr=` + regexp.QuoteMeta(path)))
	got := runHere(t, "serve", "--memory", "--listen=unix:"+path)
	checkOneLine(t, got, "--listen", path, "another server listens")
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-first.exited
	p := start()
	p.waitLog(regexp.MustCompile(`msg=listening addr=` + regexp.QuoteMeta(path)))
	sub := chattest.Subscribe(ctx, t, p.client("user1"))
	byPath := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user2", Base: unixTransport(t, path)}}, "http://localhost", connect.WithGRPC())
	send(ctx, t, byPath, text("by the path"))
	if got := sub.Next(); string(got.GetContent()) != "by the path" {
		t.Errorf("got %v", got)
	}
	p.stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the socket is still there")
	}
}

// A proxy on a Unix socket names the client without being named itself.
func TestProxyOnUnixSocket(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/chat.sock"
	p := startServerEnv(t, nil, "--listen", "127.0.0.1:0", "--listen", "unix:"+path)
	p.waitLog(regexp.MustCompile(`msg=listening addr=` + regexp.QuoteMeta(path)))
	byPath := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user1:wrong", Base: unixTransport(t, path)}}, "http://localhost", connect.WithGRPC())
	ctx, call := connect.NewClientContext(chattest.Context(t, patience))
	call.RequestHeader().Set("X-Forwarded-For", "198.51.100.7")
	if _, err := byPath.SendMessage(ctx, text("refused")); codeOf(t, err) != connect.CodeUnauthenticated {
		t.Error(err)
	}
	p.waitLog(regexp.MustCompile(`limit="failed logins" address=198\.51\.100\.7 `))
}

// systemd hands a socket over as file descriptor 3, and is told when the server is
// ready and when it ends.
func TestSystemd(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := listener.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	_ = listener.Close()
	notify := t.TempDir() + "/notify"
	states, err := net.ListenPacket("unixgram", notify)
	if err != nil {
		t.Fatal(err)
	}
	defer states.Close()
	next := func() string {
		buf := make([]byte, 256)
		n, _, err := states.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		return string(buf[:n])
	}
	// LISTEN_PID is the server's own: a shell knows it before it becomes the server.
	cmd := shell(t, `LISTEN_PID=$$ exec "$0" serve --memory`)
	cmd.Env = append(os.Environ(), "LISTEN_FDS=1", "NOTIFY_SOCKET="+notify)
	cmd.ExtraFiles = []*os.File{file}
	p := startProcess(t, cmd, cmd.Start)
	_ = file.Close()
	p.awaitListening()
	if p.addr != addr {
		t.Errorf("it listens on %s, systemd's socket is %s", p.addr, addr)
	}
	if got := next(); got != "READY=1" {
		t.Errorf("systemd was told %q", got)
	}
	send(chattest.Context(t, patience), t, p.client("user1"), text("by systemd's socket"))
	p.stop()
	if got := next(); got != "STOPPING=1" {
		t.Errorf("systemd was told %q", got)
	}
}

// Plain text on a network is warned of, once for each address, and TLS is not.
func TestClearTextIsWarnedOf(t *testing.T) {
	t.Parallel()
	const warning = "passwords travel in clear text"
	for _, tt := range []struct {
		name string
		args []string
		want int
	}{
		{"loopback", []string{"--listen=127.0.0.1:0"}, 0},
		{"network", []string{"--listen=0.0.0.0:0", "--demo-users"}, 1},
		{"TLS", []string{"--listen=0.0.0.0:0", "--demo-users", "--tls-self-signed"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startServerEnv(t, nil, tt.args...)
			p.stop()
			if got := strings.Count(p.logText(), warning); got != tt.want {
				t.Errorf("%d warnings:\n%s", got, p.logText())
			}
		})
	}
}

// When the reader of the log has ended the server stays: a write to it is an error
// then, and would by default be a deadly signal.
func TestLogWithoutReader(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	port := chattest.FreePorts(t, 1)[0]
	cmd := shell(t, `exec "$0" serve --memory --log-level debug --listen 127.0.0.1:`+port)
	cmd.Stderr = write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	if _, err := read.Read(make([]byte, 1<<16)); err != nil { // its first line
		t.Fatal(err)
	}
	_ = read.Close()
	p := &process{tb: t, cmd: cmd, addr: "127.0.0.1:" + port}
	for {
		if _, err := p.client("user1").SendMessage(ctx, text("up")); err == nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("the server does not answer")
		}
	}
	for range 10 { // each logs a line
		chattest.Subscribe(ctx, t, p.client("user1"))
	}
	send(ctx, t, p.client("user1"), text("still here"))
	p.signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
}

// shell returns a command that runs a script with the program's path as $0.
func shell(tb testing.TB, script string) *exec.Cmd {
	tb.Helper()
	cmd := exec.Command("sh", "-c", script, simplechat(tb))
	cmd.Dir = tb.TempDir()
	return cmd
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"3d": 72 * time.Hour, "1d12h": 36 * time.Hour, "2w": 14 * 24 * time.Hour, "1.5h": 90 * time.Minute, "0": 0, "-1s": -time.Second, "90s": 90 * time.Second,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "3", "d", "1x"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// A directory that may not be written names the ways out.
func TestExplainDirectory(t *testing.T) {
	t.Parallel()
	err := explainDirectory(&fs.PathError{Op: "mkdir", Path: "/srv/chat", Err: syscall.EACCES})
	for _, want := range []string{"/srv/chat", "permission denied", "allow this user to write", "--memory"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
}
