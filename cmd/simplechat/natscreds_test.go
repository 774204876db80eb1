package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"example.com/simplechat/chatsvc/chattest"
)

// NATS may know its users by credentials that an operator and its accounts have signed,
// and may revoke them.
func TestNATSWithCredentials(t *testing.T) {
	t.Parallel()
	operator, system, account := newSigner(t, nkeys.CreateOperator), newSigner(t, nkeys.CreateAccount), newSigner(t, nkeys.CreateAccount)
	claims := jwt.NewAccountClaims(account.public)
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{MemoryStorage: jwt.NoLimit, DiskStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
	settings := func() string {
		return fmt.Sprintf(`
			operator: %s
			system_account: %s
			resolver: MEMORY
			resolver_preload: { %[2]s: %[3]s, %s: %s }
		`, operator.sign(jwt.NewOperatorClaims(operator.public)), system.public, operator.sign(jwt.NewAccountClaims(system.public)), account.public, operator.sign(claims))
	}
	nats := startNATS(t, settings())
	file := filepath.Join(t.TempDir(), "chat.creds")
	user, seed := account.issue(file)
	p := startServer(t, "--nats", nats.url(), "--nats-replicas=1", "--nats-sync-always", "--nats-creds", file)
	send(chattest.Context(t, patience), t, p.client("user1"), text("before"))

	nats.kill()
	claims.Revoke(user)
	nats.settings = settings()
	nats.start()
	nats.process.waitLog(regexp.MustCompile(`authentication error`))
	account.issue(file)
	awaitHealth(t, p, serving)
	send(chattest.Context(t, patience), t, p.client("user1"), text("after"))
	if got := history(t, p); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("history %q", got)
	}
	p.stop()
	if log := p.logText(); strings.Contains(log, seed) {
		t.Errorf("the user's secret is in the log:\n%s", log)
	}

	stranger := filepath.Join(t.TempDir(), "stranger.creds")
	newSigner(t, nkeys.CreateAccount).issue(stranger)
	other := tempFile(t, "notes.txt", "mine")
	for name, tt := range map[string]struct {
		args []string
		want string
	}{
		"no user":                {nil, "Authorization Violation"},
		"unknown account's user": {[]string{"--nats-creds", stranger}, "Authorization Violation"},
		"file of another kind":   {[]string{"--nats-creds", other}, other},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := runHere(t, append([]string{"serve", "--listen=127.0.0.1:0", "--nats", nats.url()}, tt.args...)...)
			if got.code != 1 {
				t.Errorf("exit code %d", got.code)
			}
			checkOneLine(t, got, "--nats: "+nats.url(), tt.want)
		})
	}
}

// signer signs for an operator or an account.
type signer struct {
	tb     testing.TB
	key    nkeys.KeyPair
	public string
}

func newSigner(tb testing.TB, create func() (nkeys.KeyPair, error)) signer {
	tb.Helper()
	key, err := create()
	if err != nil {
		tb.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	return signer{tb, key, public}
}

func (s signer) sign(claims jwt.Claims) string {
	s.tb.Helper()
	token, err := claims.Encode(s.key)
	if err != nil {
		s.tb.Fatal(err)
	}
	return token
}

// issue writes the credentials file of a new user of the account, and returns
// the user's name and secret.
func (s signer) issue(file string) (user, seed string) {
	s.tb.Helper()
	u := newSigner(s.tb, nkeys.CreateUser)
	secret, err := u.key.Seed()
	if err != nil {
		s.tb.Fatal(err)
	}
	content, err := jwt.FormatUserConfig(s.sign(jwt.NewUserClaims(u.public)), secret)
	if err != nil {
		s.tb.Fatal(err)
	}
	if err := os.WriteFile(file, content, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	return u.public, string(secret)
}
