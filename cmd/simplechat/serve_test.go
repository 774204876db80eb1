package main

import (
	"encoding/json"
	"maps"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "Usage: simplechat <command>"},
		{[]string{"help"}, "Usage: simplechat <command>"},
		{[]string{"help", "serve"}, "Usage: simplechat serve"},
		{[]string{"--version"}, "simplechat "},
		{[]string{"--help"}, "Usage: simplechat <command>"},
		{[]string{"serve", "--help"}, "Usage: simplechat serve"},
		{[]string{"version"}, "simplechat "},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			t.Parallel()
			got := runHere(t, tt.args...)
			if got.code != 0 || !strings.HasPrefix(got.stdout, tt.want) || got.stderr != "" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// If the server cannot start, one line on stderr says what is wrong and where.
func TestMistakesAreExplained(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	cert, key, _ := certificate(t)
	_, otherKey, _ := certificate(t)
	users := func(content string) string { return "--users=" + tempFile(t, "users.json", content) }

	for _, tt := range []struct {
		name string
		args []string
		code int
		want []string // all of them
	}{
		{"unknown command", []string{"sevre"}, 2, []string{"sevre"}},
		{"unknown flag", []string{"serve", "--lisen=x"}, 2, []string{"--lisen", "see simplechat serve --help"}},
		{"unknown argument", []string{"serve", "now"}, 2, []string{"now"}},

		{"port in use", []string{"serve", "--listen", taken.Addr().String()}, 1, []string{"--listen", taken.Addr().String(), "address already in use", "another port"}},
		{"no port", []string{"serve", "--listen=127.0.0.1"}, 1, []string{"--listen", "127.0.0.1", "missing port"}},
		{"port out of range", []string{"serve", "--listen=127.0.0.1:65536"}, 1, []string{"--listen", "65536", "invalid port"}},
		{"unknown host", []string{"serve", "--listen=host.invalid:0"}, 1, []string{"--listen", "host.invalid"}},

		{"demo users on 0.0.0.0", []string{"serve", "--listen=0.0.0.0:0"}, 1, []string{"0.0.0.0:0", "not loopback", "--users", "--demo-users"}},
		{"demo users on [::]", []string{"serve", "--listen=[::]:0"}, 1, []string{"[::]:0", "not loopback", "--users", "--demo-users"}},
		{"demo users on all hosts", []string{"serve", "--listen=:0"}, 1, []string{":0", "not loopback", "--users", "--demo-users"}},

		{"no users file", []string{"serve", "--users=/nonexistent/users.json"}, 1, []string{"--users", "/nonexistent/users.json", "no such file"}},
		{"a directory of users", []string{"serve", "--users=/"}, 1, []string{"--users", "is a directory"}},
		{"users: not JSON", []string{"serve", users("{\n  \"users\": [\n    {\"name\" \"ada\"}\n]}")}, 1, []string{"--users", "users.json", "line 3"}},
		{"users: unknown field", []string{"serve", users(`{"users":[{"nick":"ada"}]}`)}, 1, []string{"--users", "users.json", "nick"}},
		{"users: none", []string{"serve", users(`{}`)}, 1, []string{"--users", "users.json", "no users"}},
		{"users: a name twice", []string{"serve", users(`{"users":[{"name":"ada","password":"s3cr3t"},{"name":"ada","password":"x"}]}`)}, 1, []string{"users.json", "user 2", `"ada"`, "twice"}},
		{"users: no password", []string{"serve", users(`{"users":[{"name":"ada","password":""}]}`)}, 1, []string{"users.json", "user 1", `"ada"`, "no password"}},
		{"users: no name", []string{"serve", users(`{"users":[{"password":"s3cr3t"}]}`)}, 1, []string{"users.json", "user 1", "name"}},
		{"users: a plain password", []string{"serve", users(`{"users":[{"name":"ada","password":"s3cr3t"}]}`)}, 1, []string{"users.json", "user 1", `"ada"`, "not hashed", "simplechat users hash --users /"}},
		{"users: a broken hash", []string{"serve", users(`{"users":[{"name":"ada","password":"$argon2id$v=19$s3cr3t"}]}`)}, 1, []string{"users.json", "user 1", `"ada"`, "not a valid argon2id hash", "simplechat users passwd"}},
		{"users: a colon", []string{"serve", users(`{"users":[{"name":"a:b","password":"s3cr3t"}]}`)}, 1, []string{"users.json", "user 1", "a:b", "colon"}},

		{"certificate without key", []string{"serve", "--tls-cert", cert}, 1, []string{"--tls-cert", "--tls-key", "both"}},
		{"key without certificate", []string{"serve", "--tls-key", key}, 1, []string{"--tls-cert", "--tls-key", "both"}},
		{"another certificate's key", []string{"serve", "--tls-cert", cert, "--tls-key", otherKey}, 1, []string{"--tls-cert", "--tls-key", "private key"}},
		{"no certificate file", []string{"serve", "--tls-cert=/nonexistent/cert.pem", "--tls-key", key}, 1, []string{"--tls-cert", "/nonexistent/cert.pem"}},

		{"two certificates", []string{"serve", "--tls-self-signed", "--tls-cert", cert, "--tls-key", key}, 1, []string{"--tls-self-signed", "contradict"}},
		{"an origin with a path", []string{"serve", "--cors-origin=https://chat.example.com/"}, 2, []string{"--cors-origin", "without a slash"}},
		{"two origins in one value", []string{"serve", "--cors-origin=https://a.example https://b.example"}, 2, []string{"--cors-origin", "once for each"}},
		{"an origin in upper case", []string{"serve", "--cors-origin=https://Chat.example.com"}, 2, []string{"--cors-origin", "give https://chat.example.com"}},
		{"an origin with its default port", []string{"serve", "--cors-origin=https://a.example:443"}, 2, []string{"--cors-origin", "give https://a.example"}},
		{"an origin that is not ASCII", []string{"serve", "--cors-origin=https://b\u00fccher.example"}, 2, []string{"--cors-origin", "xn--"}},
		{"an argument that is not UTF-8", []string{"serve", "--data=\xff"}, 2, []string{"argument 2", "not UTF-8"}},
		{"an origin without a scheme", []string{"serve", "--cors-origin=chat.example.com"}, 2, []string{"--cors-origin", "https://chat.example.com"}},
		{"a day that is none", []string{"serve", "--retain-age=3x"}, 2, []string{"--retain-age", "3x", "3d"}},
		{"a socket without a directory", []string{"serve", "--listen=unix:/nonexistent/chat.sock"}, 1, []string{"--listen", "/nonexistent/chat.sock", "no such file"}},

		{"negative messages", []string{"serve", "--retain-messages=-1"}, 2, []string{"--retain-messages", "-1"}},
		{"negative bytes", []string{"serve", "--retain-bytes=-1B"}, 2, []string{"--retain-bytes", "-1"}},
		{"negative age", []string{"serve", "--retain-age=-1s"}, 2, []string{"--retain-age", "-1s"}},
		{"no content", []string{"serve", "--max-content=0B"}, 2, []string{"--max-content 0", "1 to 3080192"}},
		{"too much content", []string{"serve", "--max-content=3009KiB"}, 2, []string{"--max-content 3081216", "1 to 3080192"}},
		{"no streams", []string{"serve", "--max-streams=0"}, 2, []string{"--max-streams"}},
		{"too many streams", []string{"serve", "--max-streams=4294967296"}, 2, []string{"--max-streams", "4294967296"}},
		{"memory and a directory", []string{"serve", "--memory", "--data=x"}, 2, []string{"--memory", "--data", "contradict"}},
		{"memory and NATS", []string{"serve", "--memory", "--nats=nats://127.0.0.1:1"}, 2, []string{"--memory", "--nats", "contradict"}},
		{"a directory and NATS", []string{"serve", "--data=x", "--nats=nats://127.0.0.1:1"}, 2, []string{"--data", "--nats", "contradict"}},
		{"memory and sync", []string{"serve", "--memory", "--sync=always"}, 2, []string{"--sync", "--memory"}},
		{"NATS and sync", []string{"serve", "--nats=nats://127.0.0.1:1", "--sync=1s"}, 2, []string{"--sync", "sync_interval"}},
		{"no interval", []string{"serve", "--sync=0s"}, 2, []string{"--sync", "neither always nor a duration of at least 1ms"}},
		{"a stream without NATS", []string{"serve", "--nats-stream=x"}, 2, []string{"--nats-stream", "without --nats"}},
		{"no URL of NATS", []string{"serve", "--nats="}, 2, []string{"--nats", "one URL is empty"}},
		{"a missing URL of NATS", []string{"serve", "--nats=nats://127.0.0.1:1,"}, 2, []string{"--nats", "one URL is empty"}},
		{"no time between syncs", []string{"serve", "--sync=1ns"}, 2, []string{"--sync", "1ns", "at least 1ms"}},
		{"too many replicas", []string{"serve", "--nats=nats://127.0.0.1:1", "--nats-replicas=7"}, 2, []string{"--nats-replicas 7", "1, 3 or 5"}},
		{"half a certificate for NATS", []string{"serve", "--nats=nats://127.0.0.1:1", "--nats-tls-key=key.pem"}, 2, []string{"--nats-tls-cert", "--nats-tls-key", "both"}},
		{"no credentials for NATS", []string{"serve", "--listen=127.0.0.1:0", "--nats=nats://127.0.0.1:1", "--nats-creds=/nonexistent/creds"}, 1, []string{"--nats-creds", "/nonexistent/creds", "no such file"}},
		{"no certificates of NATS", []string{"serve", "--listen=127.0.0.1:0", "--nats=nats://127.0.0.1:1", "--nats-tls-ca=/nonexistent/ca.pem"}, 1, []string{"--nats-tls-ca", "/nonexistent/ca.pem", "no such file"}},
		{"a file as the directory", []string{"serve", "--listen=127.0.0.1:0", "--data=/dev/null"}, 1, []string{"--data", "/dev/null", "not a directory"}},
		{"negative heartbeat", []string{"serve", "--heartbeat=-1s"}, 2, []string{"--heartbeat", "-1s"}},
		{"no write deadline", []string{"serve", "--write-deadline=0s"}, 2, []string{"--write-deadline 0s", "positive"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runHere(t, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, %d was due", got.code, tt.code)
			}
			checkOneLine(t, got, tt.want...)
		})
	}
}

// checkOneLine checks that a run has printed nothing but one line on stderr,
// which holds all of want and no password.
func checkOneLine(tb testing.TB, got result, want ...string) {
	tb.Helper()
	if got.stdout != "" {
		tb.Errorf("on stdout: %q", got.stdout)
	}
	if !strings.HasPrefix(got.stderr, "simplechat: ") || strings.Index(got.stderr, "\n") != len(got.stderr)-1 {
		tb.Errorf("not one line by simplechat: %q", got.stderr)
	}
	for _, part := range want {
		if !strings.Contains(got.stderr, part) {
			tb.Errorf("%q is not in %q", part, got.stderr)
		}
	}
	if strings.Contains(got.stderr, "s3cr3t") {
		tb.Errorf("a password is in %q", got.stderr)
	}
}

// Open to a network: with users of one's own, or where the demo users are
// explicitly allowed. On loopback: always.
func TestDemoUsersWhereAllowed(t *testing.T) {
	t.Parallel()
	own := "--users=" + testkit.UsersFile(t, "ada:s3cr3t")
	for _, tt := range []struct {
		name, user string
		args       []string
	}{
		{"demo users allowed", "user1:qwerty", []string{"--listen=0.0.0.0:0", "--demo-users"}},
		{"own users", "ada:s3cr3t", []string{"--listen=0.0.0.0:0", own}},
		{"all hosts", "ada:s3cr3t", []string{"--listen=:0", own}},
		{"other loopback", "user1:qwerty", []string{"--listen=127.0.0.2:0"}},
		{"localhost", "user5:qwerty", []string{"--listen=localhost:0", "--memory"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startServerEnv(t, nil, tt.args...)
			if host, port, err := net.SplitHostPort(p.addr); err != nil {
				t.Fatal(err)
			} else if ip := net.ParseIP(host); ip.IsUnspecified() {
				p.addr = net.JoinHostPort("127.0.0.1", port)
			}
			send(chattest.Context(t, patience), t, p.client(tt.user), text("hello"))
			if tt.user == "ada:s3cr3t" {
				if _, err := p.client("user1").SendMessage(chattest.Context(t, patience), text("hello")); err == nil {
					t.Error("the demo users can log in beside the server's own")
				}
			}
			p.stop()
		})
	}
}

var (
	flagName = regexp.MustCompile(`--([a-z]+(?:-[a-z0-9]+)*)`)
	helpFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)
)

// serveFlags returns the names of the flags in "simplechat serve --help", apart
// from help itself.
func serveFlags(tb testing.TB) []string {
	tb.Helper()
	var names []string
	for _, match := range helpFlag.FindAllStringSubmatch(runHere(tb, "serve", "--help").stdout, -1) {
		if match[1] != "help" && !slices.Contains(names, match[1]) { // the help of one may name another
			names = append(names, match[1])
		}
	}
	if len(names) == 0 {
		tb.Fatal("no flags in serve --help")
	}
	return names
}

// variableOf returns the name of the environment variable of a flag.
func variableOf(flag string) string {
	return "SIMPLECHAT_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Each flag has its environment variable: it is in the help, and a bad value in
// it is refused as one of the flag is.
func TestEveryFlagHasItsVariable(t *testing.T) {
	bad := map[string]string{
		"listen":                  "127.0.0.1:65536",
		"users":                   "/nonexistent/users.json",
		"demo-users":              "perhaps",
		"data":                    "/dev/null/data",
		"memory":                  "perhaps",
		"sync":                    "sometimes",
		"nats":                    "", // no server is bad, but away
		"nats-stream":             "a.b",
		"nats-replicas":           "-1",
		"nats-sync-always":        "perhaps",
		"nats-creds":              "/nonexistent/creds",
		"nats-tls-ca":             "/nonexistent/ca.pem",
		"nats-tls-cert":           "/nonexistent/cert.pem",
		"nats-tls-key":            "/nonexistent/key.pem",
		"retain-messages":         "-1",
		"retain-bytes":            "-1B",
		"retain-age":              "-1s",
		"replay-messages":         "-1",
		"replay-bytes":            "-1B",
		"hot-bytes":               "-1B",
		"cold-bytes":              "-1B",
		"body-bytes":              "-1B",
		"pending-bytes":           "-1B",
		"max-connections":         "-1",
		"address-connections":     "-1",
		"max-subscribers":         "-1",
		"user-streams":            "-1",
		"address-streams":         "-1",
		"max-public-calls":        "-1",
		"address-public-calls":    "-1",
		"user-sends":              "-1",
		"user-send-burst":         "-1",
		"address-wrong-passwords": "-1",
		"trusted-proxy":           "everybody",
		"proxy-protocol":          "true", // without a trusted proxy
		"allow-host":              "",     // no value is bad
		"max-content":             "9MiB",
		"max-streams":             "0",
		"heartbeat":               "-1s",
		"write-deadline":          "-1s",
		"std-http2":               "perhaps",
		"tls-cert":                "/nonexistent/cert.pem",
		"tls-key":                 "/nonexistent/key.pem",
		"tls-self-signed":         "perhaps",
		"acme-domain":             "https://chat.example.com",
		"acme-cache":              "",
		"acme-directory":          "",
		"ops-listen":              "127.0.0.1:65536",
		"print-config":            "perhaps",
		"drain-delay":             "-1s",
		"drain-spread":            "-1s",
		"no-page":                 "perhaps",
		"cors-origin":             "https://a.example/",
		"log-format":              "xml",
		"log-level":               "loud",
	}
	flags := serveFlags(t)
	if known := slices.Sorted(maps.Keys(bad)); !slices.Equal(known, slices.Sorted(slices.Values(flags))) {
		t.Errorf("flags in the help: %q\nflags in this test: %q", flags, known)
	}
	help := strings.Join(strings.Fields(runHere(t, "serve", "--help").stdout), " ")
	for _, flag := range flags {
		variable := variableOf(flag)
		if !strings.Contains(help, "($"+variable+")") {
			t.Errorf("%s is not in the help", variable)
		}
		if bad[flag] == "" {
			continue
		}
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, bad[flag])
			got := runHere(t, "serve")
			if got.code == 0 {
				t.Error("exit code 0")
			}
			checkOneLine(t, got, "--"+flag)
		})
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServerEnv(t, []string{
		"SIMPLECHAT_LISTEN=127.0.0.2:0",
		"SIMPLECHAT_RETAIN_MESSAGES=1",
		"SIMPLECHAT_MAX_CONTENT=1KiB",
		"SIMPLECHAT_LOG_FORMAT=json",
		"SIMPLECHAT_CORS_ORIGIN=https://a.example,https://b.example",
	})
	if host, _, err := net.SplitHostPort(p.addr); err != nil || host != "127.0.0.2" {
		t.Errorf("it listens on %s", p.addr)
	}
	client := p.client("user1")
	send(ctx, t, client, text("1"), text("2"))
	if got := history(t, p); !slices.Equal(got, []string{"2"}) {
		t.Errorf("retained %q", got)
	}
	if _, err := client.SendMessage(ctx, image(1025)); err == nil {
		t.Error("content over the limit was accepted")
	}
	for _, origin := range []string{"https://a.example", "https://b.example"} {
		res, _ := p.post(chatconnect.SimpleChatSendMessageProcedure, "{}", "Origin", origin)
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != origin {
			t.Errorf("answer to %s allows %q", origin, got)
		}
	}
	p.stop()
	for line := range strings.Lines(p.logText()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON in the log: %q", line)
		}
	}
}

func TestFlagWinsOverVariable(t *testing.T) {
	t.Parallel()
	p := startServerEnv(t, []string{"SIMPLECHAT_LISTEN=127.0.0.1:1", "SIMPLECHAT_RETAIN_MESSAGES=1", "SIMPLECHAT_LOG_FORMAT=json"},
		"--listen=127.0.0.1:0", "--retain-messages=2", "--log-format=text")
	send(chattest.Context(t, patience), t, p.client("user1"), text("1"), text("2"), text("3"))
	if got := history(t, p); !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("retained %q", got)
	}
	if log := p.logText(); strings.Contains(log, "{") {
		t.Errorf("log in the variable's format:\n%s", log)
	}
}

// A variable without a value, as environment files have them, is the default.
func TestEmptyVariableIsTheDefault(t *testing.T) {
	t.Parallel()
	var env []string
	for _, flag := range serveFlags(t) {
		if flag != "listen" { // the default's port may be taken
			env = append(env, variableOf(flag)+"=")
		}
	}
	p := startServerEnv(t, env, "--listen=127.0.0.1:0")
	send(chattest.Context(t, patience), t, p.client("user1"), text("1"))
	if got := history(t, p); !slices.Equal(got, []string{"1"}) {
		t.Errorf("retained %q", got)
	}
}

// A size may be plain bytes.
func TestSizeWithoutUnit(t *testing.T) {
	t.Parallel()
	p := startServer(t, "--max-content=4")
	client := p.client("user1")
	send(chattest.Context(t, patience), t, client, text("four"))
	if _, err := client.SendMessage(chattest.Context(t, patience), text("five!")); codeOf(t, err) != connect.CodeResourceExhausted {
		t.Errorf("five bytes where four are allowed: %v", err)
	}
}
