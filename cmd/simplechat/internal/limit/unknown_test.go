package limit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/argon2id"

	"example.com/simplechat/chatsvc/userfile"
)

// A wrong password of a user costs as many comparisons with a hash, waits as long and
// gets the same answer as one of a name that does not exist, until both are refused. The
// user may log in at another address then.
func TestUnknownUsersCostTheSame(t *testing.T) {
	t.Parallel()
	file := newUsersFile(t, "ada", "s3cr3t")
	synctest.Test(t, func(t *testing.T) {
		known, unknown := guess(t, file, "ada"), guess(t, file, "eve")
		if !slices.Equal(known, unknown) {
			t.Errorf("guesses of a user's password:\n%v\nof a stranger's:\n%v", known, unknown)
		}
		if last := known[len(known)-1]; last.compared != 0 {
			t.Errorf("the last guess was not refused: %+v", last)
		}
	})
}

// guessed is the cost of one guess, and its answer.
type guessed struct {
	compared int64 // with a hash
	took     time.Duration
	answer   string
}

// guess tries wrong passwords of a user at one address, until they are refused, and
// lets ada log in at another one.
func guess(t *testing.T, file, user string) (all []guessed) {
	const limit = 10
	users, err := userfile.Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	auth := New(Config{WrongPasswords: limit}).Authenticator(users)
	login := func(address, user, password string) error {
		ctx := context.WithValue(t.Context(), addressKey{}, netip.MustParseAddr(address))
		_, err := auth.Authenticate(ctx, http.Header{"User-Name": {user}, "User-Password": {password}})
		return err
	}
	for i := range limit + 5 {
		before, began := users.Stats().Hashed, time.Now()
		err := login("198.51.100.1", user, fmt.Sprint("wr0ng", i))
		if err == nil {
			t.Fatalf("%s is let in", user)
		}
		all = append(all, guessed{users.Stats().Hashed - before, time.Since(began), err.Error()})
	}
	for range 2 {
		if err := login("203.0.113.9", "ada", "s3cr3t"); err != nil {
			t.Errorf("ada is locked out at another address: %v", err)
		}
	}
	return all
}

// newUsersFile returns the path of a user database with one user, whose hash takes
// microseconds.
func newUsersFile(tb testing.TB, name, password string) string {
	tb.Helper()
	hash, err := argon2id.CreateHash(password, &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		tb.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"users": []map[string]string{{"name": name, "password": hash}}})
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), "users.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}
