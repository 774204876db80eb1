package testkit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alexedwards/argon2id"
)

// cheap hashes in microseconds: the tests' passwords are no secrets.
var cheap = &argon2id.Params{Memory: 8, Iterations: 1, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// UsersFile returns the path of a user database with users as NAME:PASSWORD.
func UsersFile(tb testing.TB, users ...string) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "users.json")
	writeUsers(tb, path, users...)
	return path
}

// writeUsers writes a user database.
func writeUsers(tb testing.TB, path string, users ...string) {
	tb.Helper()
	type user struct {
		Name     string `json:"name"`
		Password string `json:"password"`
	}
	var file struct {
		Users []user `json:"users"`
	}
	for _, text := range users {
		name, password, _ := strings.Cut(text, ":")
		hash, err := argon2id.CreateHash(password, cheap)
		if err != nil {
			tb.Fatal(err)
		}
		file.Users = append(file.Users, user{name, hash})
	}
	data, err := json.Marshal(file)
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}
