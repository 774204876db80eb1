//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/net/dns/dnsmessage"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/cmd/simplechat/internal/load"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

var buildPebble = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(pebbleVariable); path != "" {
		return filepath.Abs(path)
	}
	path := filepath.Join(buildDir, "pebble")
	return path, goCommand(repo, "build", "-modfile=.ci/tools.mod", "-o", path, "github.com/letsencrypt/pebble/v2/cmd/pebble")
})

// authority is a running pebble.
type authority struct {
	*process

	directory string         // URL
	cert      string         // file of the certificate that it answers with
	roots     *x509.CertPool // of the certificates that it issues
}

// startAuthority starts a pebble that looks for all names at a port of this machine.
func startAuthority(tb testing.TB, port string) *authority {
	tb.Helper()
	pebble, err := buildPebble()
	if err != nil {
		tb.Fatal(err)
	}
	cert, key, trusted := certificate(tb)
	ports := chattest.FreePorts(tb, 2)
	tlsPort, err := strconv.Atoi(port)
	if err != nil {
		tb.Fatal(err)
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": "127.0.0.1:" + ports[0], "managementListenAddress": "127.0.0.1:" + ports[1],
		"certificate": cert, "privateKey": key, "tlsPort": tlsPort, "httpPort": tlsPort,
	}})
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `exec "$0" "$@" >&2`, pebble, "-config", tempFile(tb, "pebble.json", string(config)), "-dnsserver", startDNS(tb))
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	a := &authority{process: startProcess(tb, cmd, cmd.Start), directory: "https://127.0.0.1:" + ports[0] + "/dir", cert: cert}
	root := fetchWhenUp(tb, "https://127.0.0.1:"+ports[1]+"/roots/0", trusted)
	a.roots = x509.NewCertPool()
	if !a.roots.AppendCertsFromPEM(root) {
		tb.Fatalf("the authority's root: %q", root)
	}
	return a
}

// fetchWhenUp returns what a server answers once it listens.
func fetchWhenUp(tb testing.TB, url string, roots *x509.CertPool) []byte {
	tb.Helper()
	rt := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	tb.Cleanup(rt.CloseIdleConnections)
	for ctx := chattest.Context(tb, patience); ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			tb.Fatal(err)
		}
		res, err := rt.RoundTrip(req)
		if err != nil {
			if ctx.Err() != nil {
				tb.Fatal(err)
			}
			continue
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			tb.Fatal(err)
		}
		return text
	}
}

// startDNS starts a server over TCP for which each name is 127.0.0.1, and returns its
// address.
func startDNS(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for answerDNS(conn) == nil {
				}
			}()
		}
	}()
	return l.Addr().String()
}

// answerDNS answers a question, which its length precedes in two bytes (RFC 1035, 4.2.2).
func answerDNS(conn io.ReadWriter) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	packet := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, packet); err != nil {
		return err
	}
	var asked dnsmessage.Message
	if err := asked.Unpack(packet); err != nil {
		return err
	}
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: asked.ID, Response: true, RecursionAvailable: true}, Questions: asked.Questions}
	for _, q := range asked.Questions {
		if q.Type == dnsmessage.TypeA {
			answer.Answers = append(answer.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			})
		}
	}
	packet, err := answer.Pack()
	if err != nil {
		return err
	}
	_, err = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packet))), packet...))
	return err
}

const acmeDomain = "chat.example.com"

// A certificate is obtained when the first client connects, clients chat over it, and a
// restart uses it again without the authority.
func TestACME(t *testing.T) {
	t.Parallel()
	port, cache := chattest.FreePorts(t, 1)[0], filepath.Join(t.TempDir(), "cache")
	a := startAuthority(t, port)
	start := func() *process {
		return startServerEnv(t, []string{"SSL_CERT_FILE=" + a.cert, "SSL_CERT_DIR=" + t.TempDir()}, "--listen", "127.0.0.1:"+port, "--memory", "--users", load.UsersFile(t),
			"--acme-domain", acmeDomain, "--acme-cache", cache, "--acme-directory", a.directory)
	}
	config := &tls.Config{RootCAs: a.roots, ServerName: acmeDomain}
	p := start()
	first := serialOf(t, p.addr, config)
	rt := testkit.NewTransport(t, true)
	rt.TLSClientConfig = config
	client := chatconnect.NewSimpleChatClient(&http.Client{Transport: testkit.As{User: "user1", Base: rt}}, "https://"+p.addr, connect.WithGRPC())
	sub := chattest.Subscribe(chattest.Context(t, patience), t, client)
	send(chattest.Context(t, patience), t, client, text("certified"))
	if got := sub.Next(); string(got.GetContent()) != "certified" {
		t.Errorf("got %v", got)
	}
	if info, err := os.Stat(filepath.Join(cache, acmeDomain)); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("the kept certificate: %v, %v", info, err)
	}
	p.stop()
	_ = a.cmd.Process.Kill() // nobody can be asked
	<-a.exited
	p = start()
	if again := serialOf(t, p.addr, config); again != first {
		t.Errorf("certificate %s after the restart, %s before", again, first)
	}
}

// serialOf returns the serial number of the certificate that a server has for config.
func serialOf(tb testing.TB, addr string, config *tls.Config) string {
	tb.Helper()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, config)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// The log says why there is no certificate, and what to do.
func TestACMEFails(t *testing.T) {
	t.Parallel()
	ports := chattest.FreePorts(t, 2)
	a := startAuthority(t, ports[1]) // nobody listens where it looks
	for _, test := range []struct{ name, directory, advice string }{
		{"not reached by the authority", a.directory, "its port 443 is open"},
		{"authority not reached", "https://127.0.0.1:" + ports[1] + "/dir", "reaches --acme-directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			p := startServerEnv(t, []string{"SSL_CERT_FILE=" + a.cert, "SSL_CERT_DIR=" + t.TempDir()}, "--listen", "127.0.0.1:0", "--memory",
				"--acme-domain", acmeDomain, "--acme-directory", test.directory)
			if err := handshake(p.addr, &tls.Config{RootCAs: a.roots, ServerName: acmeDomain}); err == nil {
				t.Error("there is a certificate")
			}
			p.waitLog(regexp.MustCompile(`level=ERROR msg="no certificate was obtained: .*domain=` + acmeDomain + ` .*` + test.advice))
		})
	}
}

func TestACMEMistakes(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "file", "")
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--acme-domain=chat"}, []string{"--acme-domain", "chat.example.com"}},
		{[]string{"--acme-domain=chat.example.com:443"}, []string{"--acme-domain", "without a scheme"}},
		{[]string{"--acme-domain=chat.example.com", "--acme-directory=http://a.example"}, []string{"--acme-directory", "https"}},
		{[]string{"--acme-domain=chat.example.com", "--acme-cache=" + file}, []string{"--acme-cache", "another directory"}},
		{[]string{"--acme-domain=chat.example.com", "--tls-self-signed"}, []string{"--acme-domain", "give one of them"}},
	} {
		checkOneLine(t, runHere(t, append([]string{"serve", "--memory", "--listen=127.0.0.1:0"}, test.args...)...), test.want...)
		if got := runHere(t, append([]string{"check", "--memory"}, test.args...)...); got.code == 0 {
			t.Errorf("check %v: %+v", test.args, got)
		}
	}
}
