//go:build unix

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"example.com/simplechat/chatsvc/chattest"
)

// TestREADMEUsers runs the commands users-… of cmd/simplechat/README.md in their order,
// in a directory of their own; from the third on a server runs. Passwords that a
// terminal would ask for come from standard input.
func TestREADMEUsers(t *testing.T) {
	t.Parallel()
	snippets := snippetsOf(t, operatorsPage)
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("s3cr3t"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"htpasswd":   "eve:$2y$" + string(hash[4:]) + "\n",
		"plain.json": `{"users":[{"name":"dan","password":"s3cr3t"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := []string{
		"users add ", "users add --password-stdin <<<s3cr3t ",
		"users passwd ", "users passwd --password-stdin <<<n3w ",
		"/etc/nginx/", "",
		"serve --users", "serve --listen 127.0.0.1:0 --users",
	}
	path := toolPath(t, snippets)
	r := recipe{dir: dir, path: path, ports: strings.NewReplacer(replace...)}
	var p *process
	ran := 0
	for _, s := range snippets {
		if !strings.HasPrefix(s.name, "users-") {
			continue
		}
		ran++
		if s.output == nil {
			r.run(t, s)
		} else {
			r.check(t, s)
		}
		if s.isServer() {
			p = startServer(t, "--users", filepath.Join(dir, "users.json"))
			r.ports = strings.NewReplacer(append(replace, readmeAddr, p.addr)...)
		}
	}
	if ran != 6 {
		t.Errorf("%d commands ran", ran)
	}
	p.waitLog(regexp.MustCompile(`msg="users: read again" users=2 tokens=0`))
	send(chattest.Context(t, patience), t, p.client("ada:n3w"), text("the password that passwd has set"))
	send(chattest.Context(t, patience), t, p.client("eve:s3cr3t"), text("the password of htpasswd"))
	p.stop()
}

// check runs a snippet, and compares its output with the page.
func (r recipe) check(tb testing.TB, s *snippet) {
	tb.Helper()
	out, err := r.command(tb, s, "").Output()
	if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != strings.Join(s.output, "\n") {
		tb.Errorf("%s: %v\n%s", s, err, got)
	}
}
