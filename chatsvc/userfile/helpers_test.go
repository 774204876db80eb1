package userfile

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"

	"example.com/simplechat/chatsvc/nosecret"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// cheap returns a hash that takes microseconds.
func cheap(tb testing.TB, password string) string {
	tb.Helper()
	hash, err := argon2id.CreateHash(password, &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	if err != nil {
		tb.Fatal(err)
	}
	return hash
}

// newFile returns the path of a file with users as NAME:PASSWORD.
func newFile(tb testing.TB, users ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "users.json")
	write(tb, path, users...)
	return path
}

// write replaces a file.
func write(tb testing.TB, path string, users ...string) {
	tb.Helper()
	var all []*chatpb.User
	for _, text := range users {
		name, password, _ := strings.Cut(text, ":")
		all = append(all, &chatpb.User{Name: name, Password: cheap(tb, password)})
	}
	if err := writeUsers(path, all); err != nil {
		tb.Fatal(err)
	}
}

// open opens a file.
func open(tb testing.TB, path string) *Authenticator {
	tb.Helper()
	a, err := Open(path, nosecret.Logger(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// editFile changes a file.
func editFile(tb testing.TB, path string, change func(*Editor) error) {
	tb.Helper()
	if err := Edit(tb.Context(), path, change); err != nil {
		tb.Fatal(err)
	}
}

// basic returns the header of a login.
func basic(name, password string) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))}}
}

// content returns the content of a file.
func content(tb testing.TB, path string) string {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// isClosed reports whether c is closed.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
