package main

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"connectrpc.com/connect"
	"golang.org/x/crypto/bcrypt"
	"google.golang.org/protobuf/encoding/protojson"

	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/cmd/internal/testkit"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
	"example.com/simplechat/gen/qtgrpc/examples/chat/chatconnect"
)

// runUsers runs "simplechat users" with a text on standard input.
func runUsers(tb testing.TB, stdin string, args ...string) result {
	tb.Helper()
	cmd := exec.CommandContext(chattest.Context(tb, patience), simplechat(tb), append([]string{"users"}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run()
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// mustRun is runUsers for a command that succeeds and says no more than its output.
func mustRun(tb testing.TB, stdin string, args ...string) string {
	tb.Helper()
	got := runUsers(tb, stdin, args...)
	if got.code != 0 || got.stderr != "" {
		tb.Fatalf("users %q: %+v", args, got)
	}
	return got.stdout
}

// The commands, from the first user to the last token.
func TestUsersCommands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.json")
	mustRun(t, "s3cr3t\n", "add", "--users", file, "--password-stdin", "zoe\u0308")
	mustRun(t, "other\r\n", "add", "--users", file, "--password-stdin", "ada")
	if got := mustRun(t, "", "list", "--users", file); got != "ada\nzo\u00eb\n" {
		t.Errorf("list: %q", got)
	}
	token := mustRun(t, "", "token", "add", "--users", file, "ada", "--label", "backup")
	if !regexp.MustCompile(`^sct_[A-Z2-7]{26}\n$`).MatchString(token) {
		t.Errorf("token: %q", token)
	}
	if got := mustRun(t, "", "token", "list", "--users", file); !regexp.MustCompile(`^ada\tbackup\t\d{4}-\d\d-\d\d\n$`).MatchString(got) {
		t.Errorf("token list: %q", got)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, "new one", "passwd", "--users", file, "--password-stdin", "ada")
	after, err := os.ReadFile(file)
	if err != nil || string(after) == string(before) || strings.Contains(string(after), "new one") {
		t.Errorf("after passwd: %s, %v", after, err)
	}
	mustRun(t, "", "token", "revoke", "--users", file, "ada", "--label", "backup")
	mustRun(t, "", "remove", "--users", file, "ada")
	if got := mustRun(t, "", "list", "--users", file); got != "zo\u00eb\n" {
		t.Errorf("list: %q", got)
	}
	if got := mustRun(t, "", "token", "list", "--users", file); got != "" {
		t.Errorf("token list: %q", got)
	}
}

// One line without a password says what is wrong, and nothing is changed.
func TestUsersMistakes(t *testing.T) {
	t.Parallel()
	file := testkit.UsersFile(t, "ada:s3cr3t")
	plain := tempFile(t, "plain.json", `{"users":[{"name":"ada","password":"s3cr3t"}]}`)
	htpasswd := tempFile(t, "htpasswd", "# made long ago\nbob:$apr1$s3cr3t\n")
	colonless := tempFile(t, "htpasswd", "bob\n")
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, stdin string
		args        []string
		code        int
		want        []string
	}{
		{"no file", "", []string{"list"}, 2, []string{"--users"}},
		{"a file that is not there", "", []string{"list", "--users=/nonexistent/u.json"}, 1, []string{"/nonexistent/u.json", "no such file"}},
		{"a directory that is not there", "s3cr3t", []string{"add", "bob", "--password-stdin", "--users=/nonexistent/u.json"}, 1, []string{"/nonexistent/u.json", "no such file"}},
		{"no terminal", "s3cr3t", []string{"add", "bob", "--users", file}, 1, []string{"not a terminal", "--password-stdin"}},
		{"there already", "s3cr3t", []string{"add", "ada", "--password-stdin", "--users", file}, 1, []string{`"ada"`, "simplechat users passwd"}},
		{"not there", "s3cr3t", []string{"passwd", "bob", "--password-stdin", "--users", file}, 1, []string{`"bob"`, "simplechat users list"}},
		{"invisible", "s3cr3t", []string{"add", "a\u200dda", "--password-stdin", "--users", file}, 1, []string{`"a\u200dda"`, "invisible"}},
		{"a colon", "s3cr3t", []string{"add", "a:b", "--password-stdin", "--users", file}, 1, []string{`"a:b"`, "colon"}},
		{"no password", "\n", []string{"add", "bob", "--password-stdin", "--users", file}, 1, []string{`"bob"`, "no password"}},
		{"two lines", "s3cr3t\nand more\n", []string{"add", "bob", "--password-stdin", "--users", file}, 1, []string{"control character"}},
		{"too long", strings.Repeat("s3cr3t", 1000), []string{"add", "bob", "--password-stdin", "--users", file}, 1, []string{"longer than 1024 bytes"}},
		{"the last one", "", []string{"remove", "ada", "--users", file}, 1, []string{`"ada"`, "only user", "add another"}},
		{"a plain file", "s3cr3t", []string{"add", "bob", "--password-stdin", "--users", plain}, 1, []string{"not hashed", "simplechat users hash --users " + plain}},
		{"not bcrypt", "", []string{"import-htpasswd", "--users", file, htpasswd}, 1, []string{"htpasswd", "line 2", `"bob"`, "htpasswd -B"}},
		{"no colon", "", []string{"import-htpasswd", "--users", file, colonless}, 1, []string{"htpasswd", "line 1", "NAME:HASH"}},
		{"no such token", "", []string{"token", "revoke", "ada", "--label=x", "--users", file}, 1, []string{`"ada"`, `"x"`, "token list"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := runUsers(t, tt.stdin, tt.args...)
			if got.code != tt.code {
				t.Errorf("exit code %d, %d was due", got.code, tt.code)
			}
			checkOneLine(t, got, tt.want...)
			if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
				t.Errorf("the file was changed: %s, %v", after, err)
			}
		})
	}
}

// reloaded matches the server's log line after it has read the file again.
var (
	reloaded = regexp.MustCompile(`msg="users: read again"`)
	broken   = regexp.MustCompile(`level=ERROR msg="users: .*cannot be used.*not hashed`)
)

// A server follows what the commands do: streams of those who are gone end, others
// live on, and a broken file changes nothing.
func TestUsersWhileServing(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	file := testkit.UsersFile(t, "ada:s3cr3t", "bob:s3cr3t", "eve:s3cr3t")
	token := strings.TrimSpace(mustRun(t, "", "token", "add", "eve", "--label=bot", "--users", file))
	p := startServer(t, "--users", file, "--log-level", "debug")
	stays := chattest.Subscribe(ctx, t, p.client("eve:s3cr3t", connect.WithGRPC()))
	removed := chattest.Subscribe(ctx, t, p.client("ada:s3cr3t", connect.WithGRPC()))
	changed := chattest.Subscribe(ctx, t, p.client("bob:s3cr3t", connect.WithGRPC()))
	revoked := chattest.Subscribe(ctx, t, p.bearer(token))
	send(ctx, t, p.bearer(token), text("by a token"))
	send(ctx, t, p.client("eve:"+token), text("by a token as the password"))

	mustRun(t, "", "remove", "ada", "--users", file)
	removed.EndsWith(connect.CodeUnauthenticated)
	mustRun(t, "n3w\n", "passwd", "bob", "--password-stdin", "--users", file)
	changed.EndsWith(connect.CodeUnauthenticated)
	mustRun(t, "", "token", "revoke", "eve", "--label=bot", "--users", file)
	revoked.EndsWith(connect.CodeUnauthenticated)
	for _, client := range []chatconnect.SimpleChatClient{p.client("ada:s3cr3t"), p.client("bob:s3cr3t"), p.bearer(token), p.client("eve:" + token)} {
		if _, err := client.SendMessage(ctx, text("x")); codeOf(t, err) != connect.CodeUnauthenticated {
			t.Errorf("old credentials: %v", err)
		}
	}
	send(ctx, t, p.client("bob:n3w"), text("by the new password"))

	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(`{"users":[{"name":"eve","password":"s3cr3t"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	p.waitLog(broken)
	send(ctx, t, p.client("bob:n3w"), text("with a broken file"))
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"by a token", "by a token as the password", "by the new password", "with a broken file"} {
		if got := stays.Next(); string(got.GetContent()) != want {
			t.Errorf("%v, %q was due", got, want)
		}
	}
	p.stop()
	for _, secret := range []string{"s3cr3t", "n3w", token, "$argon2id"} {
		if strings.Contains(p.logText(), secret) {
			t.Errorf("%q is in the log:\n%s", secret, p.logText())
		}
	}
}

// SIGHUP reads the file again, even if it looks the same, and ends nothing.
func TestUsersOnHangup(t *testing.T) {
	t.Parallel()
	ctx := chattest.Context(t, patience)
	p := startServer(t, "--users", testkit.UsersFile(t, "ada:s3cr3t"))
	sub := chattest.Subscribe(ctx, t, p.client("ada:s3cr3t"))
	p.signal(syscall.SIGHUP)
	p.waitLog(reloaded)
	send(ctx, t, p.client("ada:s3cr3t"), text("after SIGHUP"))
	sub.Next()
	p.stop()
}

// A file of plain passwords, as earlier versions took it, is fixed by the command that
// the error names.
func TestPlainFileIsFixed(t *testing.T) {
	t.Parallel()
	file := tempFile(t, "users.json", `{"users":[{"name":"ada","password":"s3cr3t"}]}`)
	refused := runHere(t, "serve", "--listen=127.0.0.1:0", "--users", file)
	_, command, _ := strings.Cut(refused.stderr, "run simplechat users ")
	if got := mustRun(t, "", strings.Fields(command)...); got != "passwords hashed: 1\n" {
		t.Errorf("%q: %q", command, got)
	}
	p := startServer(t, "--users", file)
	send(chattest.Context(t, patience), t, p.client("ada:s3cr3t"), text("hello"))
	p.stop()
}

// A file of htpasswd's.
func TestImportHtpasswd(t *testing.T) {
	t.Parallel()
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cr3t"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	file := testkit.UsersFile(t, "ada:x")
	htpasswd := tempFile(t, "htpasswd", "# comment\n\nbob:$2y$"+string(hash[4:])+"\r\neve:"+string(hash)+"\n")
	if got := mustRun(t, "", "import-htpasswd", "--users", file, htpasswd); got != "users added: 2\n" {
		t.Errorf("%q", got)
	}
	p := startServer(t, "--users", file)
	for _, user := range []string{"bob", "eve"} {
		send(chattest.Context(t, patience), t, p.client(user+":s3cr3t"), text("hello"))
		if _, err := p.client(user+":wr0ng").SendMessage(chattest.Context(t, patience), text("hello")); codeOf(t, err) != connect.CodeUnauthenticated {
			t.Errorf("%s: %v", user, err)
		}
	}
	p.stop()
}

// The file is the scheme's Users as JSON, so other programs may read it.
func TestUsersFileIsTheScheme(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "users.json")
	mustRun(t, "s3cr3t", "add", "ada <&>", "--password-stdin", "--users", file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var users chatpb.Users
	if err := protojson.Unmarshal(data, &users); err != nil || users.GetUsers()[0].GetName() != "ada <&>" || !strings.HasPrefix(users.GetUsers()[0].GetPassword(), "$argon2id$") {
		t.Errorf("%s, %v", data, err)
	}
}

// bearer returns a client over gRPC with a token.
func (p *process) bearer(token string) chatconnect.SimpleChatClient {
	p.tb.Helper()
	httpClient := &http.Client{Transport: bearer{token, testkit.NewTransport(p.tb, true)}}
	return chatconnect.NewSimpleChatClient(httpClient, p.url(""), connect.WithGRPC())
}

// bearer is a transport that adds a token.
type bearer struct {
	token string
	base  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.base.RoundTrip(r)
}
