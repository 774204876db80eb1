package main

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/simplechat/chatsvc/chattest"
)

// NATS may ask for TLS, a certificate and a password.
func TestNATSWithTLS(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	addr := startNATS(t, fmt.Sprintf(`
		tls { cert_file: %[1]q, key_file: %[2]q, ca_file: %[1]q, verify: true, timeout: %[3]v }
		authorization { user: chat, password: s3cr3t }
	`, cert, key, patience.Seconds())).clients.Addr
	url := fmt.Sprintf("nats://chat:s3cr3t@%s", addr)
	all := []string{"--nats", url, "--nats-replicas=1", "--nats-stream=conversation", "--nats-tls-ca", cert, "--nats-tls-cert", cert, "--nats-tls-key", key}
	p := startServer(t, all...)
	send(chattest.Context(t, patience), t, p.client("user1"), text("hello"))
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

// Clients that connect while the server waits for NATS are refused, and not left without
// an answer.
func TestWaitingForNATSRefusesConnections(t *testing.T) {
	t.Parallel()
	addr := net.JoinHostPort("127.0.0.1", chattest.FreePorts(t, 1)[0])
	cmd := exec.Command(simplechat(t), "serve", "--listen", addr, "--nats", "nats://127.0.0.1:1")
	startProcess(t, cmd, cmd.Start)
	var conn net.Conn
	for deadline := time.Now().Add(patience); conn == nil; {
		var err error
		if conn, err = net.Dial("tcp", addr); err != nil && time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		t.Errorf("the connection: %v", err)
	}
}
