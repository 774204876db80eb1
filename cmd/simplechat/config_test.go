//go:build unix

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
)

// runProgram runs the program as a process of its own, with further variables.
func runProgram(tb testing.TB, env []string, args ...string) result {
	tb.Helper()
	cmd := exec.CommandContext(chattest.Context(tb, patience), simplechat(tb), args...)
	cmd.Dir = tb.TempDir()
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit code tells
	nosecret.Check(tb, stdout.String()+stderr.String())
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// Each value comes with its source, and no password is among them.
func TestPrintConfig(t *testing.T) {
	t.Parallel()
	urls := tempFile(t, "nats", "nats://ada:s3cr3t@127.0.0.1:1,nats://s3cr3t@127.0.0.1:2\n")
	got := runProgram(t, []string{"SIMPLECHAT_NATS_FILE=" + urls, "SIMPLECHAT_HEARTBEAT=10s"},
		"serve", "--print-config", "--listen=127.0.0.1:1", "--listen=unix:/run/chat.sock")
	if got.code != 0 || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{
		`--listen +127\.0\.0\.1:1,unix:/run/chat\.sock +flag`,
		`--heartbeat +10s +\$SIMPLECHAT_HEARTBEAT`,
		`--nats +nats://ada:xxxxx@127\.0\.0\.1:1,nats://xxxxx@127\.0\.0\.1:2 +file ` + regexp.QuoteMeta(urls) + ` of \$SIMPLECHAT_NATS_FILE`,
		`--max-content +1MiB +default`,
		`--retain-messages +0 +default`,
		`--retain-bytes +1GiB +default`,
		`--retain-age +0s +default`,
		`--nats-stream +simplechat +default`,
		`--nats-replicas +3 +default`,
		`--ops-listen +127\.0\.0\.1:65010 +default`,
	} {
		if !regexp.MustCompile("(?m)^" + want + "$").MatchString(got.stdout) {
			t.Errorf("%q is not in\n%s", want, got.stdout)
		}
	}
	for _, flag := range serveFlags(t) {
		if flag != "print-config" && !strings.Contains(got.stdout, "--"+flag+" ") {
			t.Errorf("--%s is missing", flag)
		}
	}
}

// A variable and its file, or a file that is missing, is a mistake.
func TestFileVariables(t *testing.T) {
	t.Parallel()
	value := tempFile(t, "value", "xml")
	got := runProgram(t, []string{"SIMPLECHAT_LOG_LEVEL_FILE=" + value}, "serve")
	checkOneLine(t, got, "--log-level", "xml")
	got = runProgram(t, []string{"SIMPLECHAT_DATA=x", "SIMPLECHAT_DATA_FILE=" + value}, "serve")
	checkOneLine(t, got, "SIMPLECHAT_DATA", "both")
	got = runProgram(t, []string{"SIMPLECHAT_DATA_FILE=/nonexistent/file"}, "serve")
	checkOneLine(t, got, "SIMPLECHAT_DATA_FILE", "/nonexistent/file", "no such file")
}

// A check tells of everything that is wrong at once, and makes nothing.
func TestCheck(t *testing.T) {
	t.Parallel()
	cert, key, _ := certificate(t)
	_, otherKey, _ := certificate(t)
	nats := startNATS(t, "")
	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string
	}{
		{"nothing exists yet", nil, 0, []string{"users .*demo users", "certificate .*clear text", "storage .*will be made"}},
		{"all is well", []string{"--tls-cert", cert, "--tls-key", key, "--memory"}, 0, []string{"certificate .*valid until 2", "storage .*memory"}},
		{"all is wrong", []string{"--users=/nonexistent/users.json", "--tls-cert", cert, "--tls-key", otherKey, "--data=/dev/null"}, 1,
			[]string{"users .*FAILED.*no such file", "certificate .*FAILED.*private key", "storage .*FAILED.*not a directory"}},
		{"no directory to make it in", []string{"--data=/nonexistent/data"}, 1, []string{"storage .*FAILED.*cannot be made"}},
		{"NATS without the stream", []string{"--nats", nats.url(), "--nats-replicas=1"}, 0, []string{"storage .*stream simplechat does not exist yet"}},
		{"NATS out of reach", []string{"--nats=nats://127.0.0.1:1"}, 1, []string{"storage .*FAILED.*--nats"}},
		{"bad flags", []string{"--max-streams=0"}, 2, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runProgram(t, nil, append([]string{"check"}, tt.args...)...)
			if got.code != tt.code {
				t.Errorf("exit code %d: %+v", got.code, got)
			}
			for _, want := range tt.want {
				if !regexp.MustCompile("(?m)^" + want).MatchString(got.stdout) {
					t.Errorf("%q is not in\n%s", want, got.stdout)
				}
			}
		})
	}
}

// A value that is not UTF-8 would name another file than the one that was meant.
func TestVariableNotUTF8(t *testing.T) {
	t.Parallel()
	secret := tempFile(t, "nats", "nats://127.0.0.1:1/\xff")
	for _, tt := range []struct {
		variable string
		args     []string
		want     []string
	}{
		{"SIMPLECHAT_DATA=a\xff", []string{"serve", "--print-config"}, []string{"SIMPLECHAT_DATA", "not UTF-8"}},
		{"SIMPLECHAT_LISTEN=unix:/a\xff", []string{"check"}, []string{"SIMPLECHAT_LISTEN", "not UTF-8"}},
		{"SIMPLECHAT_NATS_FILE=" + secret, []string{"serve", "--print-config"}, []string{"SIMPLECHAT_NATS", "not UTF-8"}},
		{"SIMPLECHAT_USER=a\xff", []string{"send", "--timeout=1ms", "hello"}, []string{"SIMPLECHAT_USER", "not UTF-8"}},
	} {
		got := runProgram(t, []string{tt.variable}, tt.args...)
		if got.code != 2 {
			t.Errorf("%q: exit code %d", tt.variable, got.code)
		}
		checkOneLine(t, got, tt.want...)
	}
	if got := runProgram(t, []string{"SIMPLECHAT_DATA=a\xff"}, "version"); got.code != 0 {
		t.Errorf("a command that does not use the variable: %+v", got)
	}
}
