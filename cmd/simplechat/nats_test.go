package main

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// startNATS starts a NATS server on loopback with these options set.
func startNATS(tb testing.TB, set func(*server.Options)) (addr string) {
	tb.Helper()
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		MaxPayload: 8 << 20, JetStream: true, StoreDir: tb.TempDir(),
	}
	set(options)
	srv, err := server.NewServer(options)
	if err != nil {
		tb.Fatal(err)
	}
	srv.Start()
	tb.Cleanup(func() {
		srv.Shutdown()
		srv.WaitForShutdown()
	})
	if !srv.ReadyForConnections(patience) {
		tb.Fatal("the NATS server does not start")
	}
	return srv.Addr().String()
}

// NATS may ask for TLS, a certificate and a password.
func TestNATSWithTLS(t *testing.T) {
	t.Parallel()
	cert, key, roots := certificate(t)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	addr := startNATS(t, func(o *server.Options) {
		o.TLS, o.TLSVerify, o.TLSTimeout = true, true, patience.Seconds()
		o.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots, MinVersion: tls.VersionTLS12}
		o.Username, o.Password = "chat", "s3cr3t"
	})
	url := fmt.Sprintf("nats://chat:s3cr3t@%s", addr)
	all := []string{"--nats", url, "--nats-replicas=1", "--nats-stream=conversation", "--nats-tls-ca", cert, "--nats-tls-cert", cert, "--nats-tls-key", key}
	p := startServer(t, all...)
	send(testContext(t), t, p.client("user1"), text("hello"))
	if got := history(t, p); len(got) != 1 || got[0] != "hello" {
		t.Errorf("history %q", got)
	}
	p.stop()
	if log := p.logText(); strings.Contains(log, "s3cr3t") {
		t.Errorf("the password is in the log:\n%s", log)
	}

	for name, args := range map[string][]string{
		"unknown authority": {"--nats", url, "--nats-tls-cert", cert, "--nats-tls-key", key},
		"no certificate":    {"--nats", url, "--nats-tls-ca", cert},
		"wrong password":    {"--nats", strings.Replace(url, "s3cr3t", "s3cr3ts", 1), "--nats-tls-ca", cert, "--nats-tls-cert", cert, "--nats-tls-key", key},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := runHere(t, append([]string{"serve", "--listen=127.0.0.1:0"}, args...)...)
			if got.code != 1 {
				t.Errorf("exit code %d", got.code)
			}
			checkOneLine(t, got, "--nats: nats://chat:xxxxx@"+addr)
		})
	}
}
