package userfile

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
	"example.com/simplechat/chatsvc/nosecret"
)

// A password is compared with its hash once, a wrong one and that of an unknown user
// each time.
func TestLogins(t *testing.T) {
	t.Parallel()
	a := open(t, newFile(t, "ada:x", "zo\u00eb:y:z", "tim:\u00e9"))
	for _, tt := range []struct {
		name    string
		header  http.Header
		user    string // empty: refused
		compare int64
	}{
		{"first", basic("ada", "x"), "ada", 1},
		{"again", basic("ada", "x"), "ada", 0},
		{"as Qt does", http.Header{"User-Name": {"ada"}, "User-Password": {"x"}}, "ada", 0},
		{"wrong", basic("ada", "y"), "", 1},
		{"wrong again", basic("ada", "y"), "", 1},
		{"right after wrong", basic("ada", "x"), "ada", 0},
		{"another's", basic("zo\u00eb", "x"), "", 1},
		{"composed otherwise", basic("zoe\u0308", "y:z"), "zo\u00eb", 1},
		{"composed", basic("zo\u00eb", "y:z"), "zo\u00eb", 0},
		{"unknown", basic("eve", "x"), "", 1},
		{"password composed", basic("tim", "\u00e9"), "tim", 1},
		{"password composed otherwise", basic("tim", "e\u0301"), "tim", 0},
		{"too long", basic("ada", strings.Repeat("x", 1025)), "", 0},
		{"none", http.Header{}, "", 0},
		{"unknown token", http.Header{"Authorization": {"Bearer sct_AAAAAAAAAAAAAAAAAAAAAAAAAA"}}, "", 0},
		{"password as a token", http.Header{"Authorization": {"Bearer x"}}, "", 0},
		{"unknown token as a password", basic("ada", "sct_AAAAAAAAAAAAAAAAAAAAAAAAAA"), "", 1},
	} {
		before := a.Stats().Hashed
		user, err := a.Authenticate(t.Context(), tt.header)
		if user.Name != tt.user || (err == nil) != (tt.user != "") {
			t.Errorf("%s: %q, %v", tt.name, user.Name, err)
		}
		if err != nil && !errors.Is(err, chatsvc.ErrUnauthenticated) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got := a.Stats().Hashed - before; got != tt.compare {
			t.Errorf("%s: %d comparisons", tt.name, got)
		}
	}
	for i := range 50 { // whoever's hash the password is compared with
		if user, err := a.Authenticate(t.Context(), basic(fmt.Sprint("eve", i), "x")); err == nil {
			t.Errorf("an unknown user is let in as %q", user.Name)
		}
	}
	_, known := a.Authenticate(t.Context(), basic("ada", "y"))
	_, unknown := a.Authenticate(t.Context(), basic("eve", "y"))
	if known.Error() != unknown.Error() {
		t.Errorf("%q tells more than %q", unknown, known)
	}
}

// A token works alone and in place of its own user's password, until it is revoked or
// its user is removed.
func TestTokens(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x", "bob:y")
	var backup, other string
	editFile(t, path, func(e *Editor) (err error) {
		if backup, err = e.AddToken("ada", "backup"); err != nil {
			return err
		}
		other, err = e.AddToken("ada", "other")
		return err
	})
	a := open(t, path)
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"bearer " + token}} }
	check := func(header http.Header, want bool) <-chan struct{} {
		t.Helper()
		user, err := a.Authenticate(t.Context(), header)
		if (err == nil) != want || want && user.Name != "ada" {
			t.Errorf("%q, %v", user.Name, err)
		}
		return user.Revoked
	}
	first := check(bearer(backup), true)
	check(basic("ada", backup), true)
	check(basic("bob", backup), false)
	second := check(bearer(other), true)

	editFile(t, path, func(e *Editor) error { return e.RevokeToken("ada", "backup") })
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	check(bearer(backup), false)
	check(basic("ada", backup), false)
	check(bearer(other), true)
	if !isClosed(first) || isClosed(second) {
		t.Errorf("revoked: %v, not revoked: %v", isClosed(first), isClosed(second))
	}

	editFile(t, path, func(e *Editor) error { return e.Remove("ada") })
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if check(bearer(other), false); !isClosed(second) {
		t.Error("the token of a user who was removed stays")
	}
	editFile(t, path, func(e *Editor) error { return e.Add("ada", cheap(t, "x")) })
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	check(bearer(other), false)

	editFile(t, path, func(e *Editor) (err error) { other, err = e.AddToken("ada", "other"); return err })
	check(bearer(other), true)
	write(t, path, "bob:y") // as with a text editor
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	check(bearer(other), false)
}

// A reload ends the streams of removed or changed credentials, and no others: a password
// that was compared before is not compared again.
func TestReload(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x", "bob:y", "eve:z")
	a := open(t, path)
	login := func(name, password string) <-chan struct{} {
		t.Helper()
		user, err := a.Authenticate(t.Context(), basic(name, password))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return user.Revoked
	}
	ada, bob, eve := login("ada", "x"), login("bob", "y"), login("eve", "z")
	editFile(t, path, func(e *Editor) error {
		return errors.Join(e.SetHash("bob", cheap(t, "new")), e.Remove("eve"), e.Add("dan", cheap(t, "w")))
	})
	if err := a.Reload(); err != nil {
		t.Fatal(err)
	}
	if isClosed(ada) || !isClosed(bob) || !isClosed(eve) {
		t.Errorf("ended: ada %v, bob %v, eve %v", isClosed(ada), isClosed(bob), isClosed(eve))
	}
	for name, password := range map[string]string{"bob": "y", "eve": "z"} {
		if _, err := a.Authenticate(t.Context(), basic(name, password)); err == nil {
			t.Errorf("%s logs in as before", name)
		}
	}
	before := a.Stats().Hashed
	login("ada", "x")
	if got := a.Stats().Hashed; got != before {
		t.Error("a password that stayed was compared again")
	}
	login("bob", "new")
	login("dan", "w")
}

// The files are read again when they change, and stay as they were if they are broken.
func TestWatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		path := newFile(t, "ada:x")
		var log chattest.Buffer
		a, err := Open(path, nosecret.Logger(t, &log))
		if err != nil {
			t.Fatal(err)
		}
		ada, err := a.Authenticate(t.Context(), basic("ada", "x"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		go a.Watch(ctx)
		defer synctest.Wait()
		defer stop()
		after := func(name, password string) error {
			time.Sleep(2 * pollInterval) // in the bubble's time
			synctest.Wait()
			if !isClosed(ada.Revoked) { // its hash is another one already
				t.Error("the first change was not seen before somebody logged in")
			}
			_, err := a.Authenticate(t.Context(), basic(name, password))
			return err
		}
		write(t, path, "ada:x", "bob:y")
		if err := after("bob", "y"); err != nil {
			t.Errorf("after a change: %v", err)
		}
		if err := os.WriteFile(path, []byte(`{"users":[{"name":"ada","password":"s3cr3t"}]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := after("bob", "y"); err != nil {
			t.Errorf("after a broken one: %v", err)
		}
		time.Sleep(10 * pollInterval)
		synctest.Wait()
		if text := log.String(); strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "not hashed") || strings.Contains(text, "s3cr3t") {
			t.Errorf("the log:\n%s", text)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := after("bob", "y"); err != nil {
			t.Errorf("after its removal: %v", err)
		}
		write(t, path, "eve:z")
		if err := after("eve", "z"); err != nil {
			t.Errorf("when it exists again: %v", err)
		}
		secret := ""
		editFile(t, path, func(e *Editor) (err error) { secret, err = e.AddToken("eve", "l"); return err })
		if err := after("eve", secret); err != nil {
			t.Errorf("after a new token: %v", err)
		}
	})
}

// Without Watch, a change is seen before anyone is refused, once.
func TestChangeIsSeenAtLogin(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x")
	var log chattest.Buffer
	a, err := Open(path, nosecret.Logger(t, &log))
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, "ada:new", "bob:y")
	for _, header := range []http.Header{basic("bob", "y"), basic("ada", "new")} {
		if _, err := a.Authenticate(t.Context(), header); err != nil {
			t.Error(err)
		}
	}
	if _, err := a.Authenticate(t.Context(), basic("ada", "x")); err == nil {
		t.Error("the old password")
	}
	if got := strings.Count(log.String(), "read again"); got != 1 {
		t.Errorf("%d reloads:\n%s", got, log.String())
	}
}

// A file that is changed in place, and is as long as before, is seen too.
func TestChangeInPlace(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x")
	a := open(t, path)
	other := content(t, newFile(t, "ada:y"))
	if len(other) != len(content(t, path)) {
		t.Fatal("the files differ in length")
	}
	if err := os.WriteFile(path, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Second) // than the clock of the file system can tell
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), basic("ada", "y")); err != nil {
		t.Error(err)
	}
}

// 10,000 clients of 50 users log in together: each password is compared once, and a
// user who has logged in before does not wait for them.
func TestCrowdLogsIn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var users []string
		for i := range 50 {
			users = append(users, fmt.Sprintf("user%d:pw%d", i, i))
		}
		a := open(t, newFile(t, append(users, "ada:x")...))
		if _, err := a.Authenticate(t.Context(), basic("ada", "x")); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		a.hasher.matches = func(password, hash string) bool {
			<-release
			return matches(password, hash)
		}
		var all sync.WaitGroup
		for i := range 10_000 {
			all.Go(func() {
				name, password, _ := strings.Cut(users[i%50], ":")
				if _, err := a.Authenticate(t.Context(), basic(name, password)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		synctest.Wait() // all wait for a comparison
		if _, err := a.Authenticate(t.Context(), basic("ada", "x")); err != nil {
			t.Errorf("one who was here before: %v", err)
		}
		close(release)
		all.Wait()
		if got := a.Stats(); got.Hashed != 51 || got.Refused != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// Where too many passwords wait to be compared, further ones are refused with a time
// to come back, and users who have logged in before are not.
func TestQueueIsFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := open(t, newFile(t, "ada:x"))
		if _, err := a.Authenticate(t.Context(), basic("ada", "x")); err != nil {
			t.Fatal(err)
		}
		release := make(chan struct{})
		a.hasher.matches = func(string, string) bool {
			<-release
			return false
		}
		left, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		places := maxWaiting + cap(a.hasher.workers)
		for i := range places {
			all.Go(func() {
				if _, err := a.Authenticate(left, basic("ada", fmt.Sprint("wrong", i))); !errors.Is(err, context.Canceled) {
					t.Errorf("a caller that left: %v", err)
				}
			})
		}
		synctest.Wait()
		for range 3 {
			_, err := a.Authenticate(t.Context(), basic("ada", "another"))
			coded := new(connect.Error)
			if !errors.As(err, &coded) || coded.Code() != connect.CodeResourceExhausted || coded.Meta().Get("Retry-After") != "5" {
				t.Errorf("beyond the queue: %v", err)
			}
		}
		if _, err := a.Authenticate(t.Context(), basic("ada", "x")); err != nil {
			t.Errorf("one who was here before: %v", err)
		}
		leave()
		all.Wait()
		close(release)
		synctest.Wait()
		if got := a.Stats(); got.Refused != 3 || got.Hashed != int64(places)+1 {
			t.Errorf("%+v", got)
		}
	})
}

// When a password is changed while another call compares the old one, the old one is let
// through by neither that call nor one after it, and the new one is by both.
func TestChangeDuringComparison(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]error{"x": chatsvc.ErrUnauthenticated, "new": nil} {
		synctest.Test(t, func(t *testing.T) {
			path := newFile(t, "ada:x")
			a := open(t, path)
			proceed := make(chan struct{})
			a.hasher.matches = func(password, hash string) bool {
				<-proceed
				return matches(password, hash)
			}
			var calls sync.WaitGroup
			call := func() {
				if _, err := a.Authenticate(t.Context(), basic("ada", password)); !errors.Is(err, want) {
					t.Errorf("%q: %v", password, err)
				}
			}
			calls.Go(call)
			synctest.Wait() // it is being compared
			write(t, path, "ada:new")
			if err := a.Reload(); err != nil {
				t.Fatal(err)
			}
			calls.Go(call)
			synctest.Wait()
			close(proceed)
			calls.Wait()
		})
	}
}

// A call with a password that was right before.
func BenchmarkProvenLogin(b *testing.B) {
	a := open(b, newFile(b, "ada:x"))
	header := basic("ada", "x")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Authenticate(b.Context(), header); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHash measures the first login of a user.
func BenchmarkHash(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Hash("correct horse"); err != nil {
			b.Fatal(err)
		}
	}
}

// Nothing that is logged of logins and of files that cannot be used has a password.
func TestLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	var log chattest.Buffer
	path := newFile(t, "ada:s3cr3t")
	a, err := Open(path, nosecret.Logger(t, &log))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Authenticate(t.Context(), basic("ada", "s3cr3t")); err != nil {
		t.Error(err)
	}
	for _, header := range []http.Header{basic("ada", "wr0ng"), basic("s3cr3t", "wr0ng"), {"Authorization": {"Bearer sct_AAAAAAAAAAAAAAAAAAAAAAAAAA"}}} {
		if _, err := a.Authenticate(t.Context(), header); err == nil {
			t.Errorf("%v is let in", header)
		}
	}
	for _, text := range []string{`{"users":[{"name":"ada","password":"s3cr3t"}]}`, `{"users":[{"name":"ada","password":"$argon2id$s3cr3t"}]}`, `{"users":"s3cr3t"}`} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := a.Reload(); err == nil {
			t.Errorf("%s is taken", text)
		} else {
			nosecret.Check(t, err.Error())
		}
	}
	if strings.Count(log.String(), "\n") < 3 {
		t.Errorf("logged:\n%s", log.String())
	}
}
