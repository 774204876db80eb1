package userfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// The error for a bad file names the place and the remedy, and contains no password.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	hash := cheap(t, "x")
	for _, tt := range []struct {
		name, users, tokens string
		want                []string
	}{
		{"plain", `{"users":[{"name":"ada","password":"` + hash + `"},{"name":"bob","password":"s3cr3t"}]}`, "", []string{"user 2", `"bob"`, "not hashed", "simplechat users hash --users"}},
		{"half a hash", `{"users":[{"name":"ada","password":"$argon2id$v=19$s3cr3t"}]}`, "", []string{"user 1", "not a valid argon2id"}},
		{"no threads", `{"users":[{"name":"ada","password":"` + strings.Replace(hash, "p=1", "p=0", 1) + `"}]}`, "", []string{"not a valid argon2id"}},
		{"no passes", `{"users":[{"name":"ada","password":"` + strings.Replace(hash, "t=1", "t=0", 1) + `"}]}`, "", []string{"not a valid argon2id"}},
		{"too much memory", `{"users":[{"name":"ada","password":"` + strings.Replace(hash, "m=8", "m=4000000", 1) + `"}]}`, "", []string{"takes too much memory"}},
		{"half a bcrypt hash", `{"users":[{"name":"ada","password":"$2y$05$s3cr3t"}]}`, "", []string{"not a valid bcrypt"}},
		{"a bcrypt hash for years", `{"users":[{"name":"ada","password":"$2y$31$` + strings.Repeat("a", 53) + `"}]}`, "", []string{"cost 31", "at most 15"}},
		{"twice", `{"users":[{"name":"zo\u00eb","password":"` + hash + `"},{"name":"zoe\u0308","password":"` + hash + `"}]}`, "", []string{"user 2", "twice"}},
		{"invisible", `{"users":[{"name":"ada","password":"` + hash + `"},{"name":"a\u200bda","password":"` + hash + `"}]}`, "", []string{"user 2", `"a\u200bda"`, "invisible"}},
		{"nothing to see", `{"users":[{"name":"\u200b","password":"` + hash + `"}]}`, "", []string{"user 1", "no visible"}},
		{"no tokens", `{"users":[{"name":"ada","password":"` + hash + `"}]}`, `{"tokens":`, []string{"users.json.tokens", "delete it to revoke"}},
		{"a token's secret", `{"users":[{"name":"ada","password":"` + hash + `"}]}`, `{"tokens":[{"user":"ada","label":"x","hash":"s3cr3t"}]}`, []string{"users.json.tokens", "token 1", "SHA-256"}},
		{"no label", `{"users":[{"name":"ada","password":"` + hash + `"}]}`, `{"tokens":[{"user":"ada","hash":"` + strings.Repeat("00", 32) + `"}]}`, []string{"token 1", "label"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "users.json")
			if err := os.WriteFile(path, []byte(tt.users), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.tokens != "" {
				if err := os.WriteFile(path+".tokens", []byte(tt.tokens), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, err := Open(path, nil)
			if err == nil {
				t.Fatal("it was opened")
			}
			for _, want := range append(tt.want, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("a secret is in: %v", err)
			}
		})
	}
}

// Names that differ in more than invisible characters may have them: an emoji of
// several, and a Persian word that needs a non-joiner.
func TestInvisibleCharactersThatMatter(t *testing.T) {
	t.Parallel()
	a := open(t, newFile(t, "👩\u200d💻:x", "می\u200cخواهم:y", "👩:z"))
	for name, password := range map[string]string{"👩\u200d💻": "x", "می\u200cخواهم": "y", "👩": "z"} {
		if user, err := a.Authenticate(t.Context(), basic(name, password)); err != nil || user.Name != name {
			t.Errorf("%+q: %+q, %v", name, user.Name, err)
		}
	}
}

// Hashes of this package, of htpasswd and of other programs.
func TestHashes(t *testing.T) {
	t.Parallel()
	ours, err := Hash("pässw0rd")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(ours, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("%q", ours)
	}
	made, err := bcrypt.GenerateFromPassword([]byte("pässw0rd"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []string{ours, string(made), "$2y$" + string(made[4:]), "$2b$" + string(made[4:])} {
		if err := checkHash(hash); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
		if !matches("pässw0rd", hash) || matches("pässw0rd!", hash) || matches("", hash) {
			t.Errorf("%s does not tell passwords apart", hash)
		}
	}
	if !matches("pa\u0308ssw0rd", ours) {
		t.Error("a password composed in another way does not match")
	}
}

// Several programs edit a file at the same time, and no edit is lost.
func TestEditsTogether(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.json")
	hash := cheap(t, "x")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if err := Edit(t.Context(), path, func(e *Editor) error { return e.Add(fmt.Sprintf("user%d", i), hash) }); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if names, _, err := List(path); err != nil || len(names) != 20 {
		t.Errorf("%d users, %v", len(names), err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("%v: more than the file and its lock: %v", entries, err)
	}
}

// An edit that fails leaves the file alone, and one that waits ends with its context.
func TestEditsThatFail(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x", "zo\u00eb:y")
	before := content(t, path)
	hash := cheap(t, "x")
	for name, change := range map[string]func(e *Editor) error{
		"there already":        func(e *Editor) error { return e.Add("ada", hash) },
		"composed otherwise":   func(e *Editor) error { return e.Add("zoe\u0308", hash) },
		"looks the same":       func(e *Editor) error { return e.Add("ad\u00ada", hash) },
		"a colon":              func(e *Editor) error { return e.Add("a:b", hash) },
		"no hash":              func(e *Editor) error { return e.Add("bob", "s3cr3t") },
		"nobody to change":     func(e *Editor) error { return e.SetHash("bob", hash) },
		"no hash to change to": func(e *Editor) error { return e.SetHash("ada", "s3cr3t") },
		"nobody to remove":     func(e *Editor) error { return e.Remove("bob") },
		"the last one":         func(e *Editor) error { return errors.Join(e.Remove("zoe\u0308"), e.Remove("ada")) },
		"no label":             func(e *Editor) error { _, err := e.AddToken("ada", ""); return err },
		"a token of nobody":    func(e *Editor) error { _, err := e.AddToken("bob", "x"); return err },
		"no token":             func(e *Editor) error { return e.RevokeToken("ada", "x") },
	} {
		if err := Edit(t.Context(), path, change); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", name, err)
		}
		if content(t, path) != before {
			t.Fatalf("%s changed the file", name)
		}
	}
	err := Edit(t.Context(), path, func(*Editor) error {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		return Edit(ctx, path, func(*Editor) error { return nil })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("an edit inside another one: %v", err)
	}
}

// Both files can be read by their owner only, and a link to one stays a link.
func TestFilesOnDisk(t *testing.T) {
	t.Parallel()
	path := newFile(t, "ada:x", "bob:y")
	link := filepath.Join(t.TempDir(), "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	editFile(t, link, func(e *Editor) error { return e.Remove("bob") })
	secret := ""
	editFile(t, path, func(e *Editor) (err error) { secret, err = e.AddToken("ada", "backup"); return err })
	for _, file := range []string{path, path + ".tokens"} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info.Mode(), err)
		}
		if strings.Contains(content(t, file), secret) {
			t.Errorf("the token's secret is in %s", file)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if names, _, err := List(path); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// Plain passwords become hashes, hashes stay.
func TestHashPlain(t *testing.T) {
	t.Parallel()
	hash := cheap(t, "old")
	path := filepath.Join(t.TempDir(), "users.json")
	file := `{"users":[{"name":"ada","password":"s3cr3t"},{"name":"bob","password":"` + hash + `"}]}`
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{1, 0} {
		if hashed, err := HashPlain(t.Context(), path); err != nil || hashed != want {
			t.Errorf("%d hashed, %v", hashed, err)
		}
	}
	if text := content(t, path); strings.Contains(text, "s3cr3t") || !strings.Contains(text, hash) {
		t.Errorf("%s", text)
	}
	a := open(t, path)
	for name, password := range map[string]string{"ada": "s3cr3t", "bob": "old"} {
		if _, err := a.Authenticate(t.Context(), basic(name, password)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := HashPlain(t.Context(), path+"-other"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// A broken hash, which a server refuses, can be replaced; it is not taken for a password.
func TestBrokenHashIsReplaced(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "users.json")
	if err := os.WriteFile(path, []byte(`{"users":[{"name":"ada","password":"$argon2id$v=19$x"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if hashed, err := HashPlain(t.Context(), path); err != nil || hashed != 0 {
		t.Errorf("%d hashed, %v", hashed, err)
	}
	if _, err := Open(path, nil); err == nil || !strings.Contains(err.Error(), "run simplechat users passwd --users "+path+" ada") {
		t.Errorf("%v", err)
	}
	editFile(t, path, func(e *Editor) error { return e.SetHash("ada", cheap(t, "x")) })
	open(t, path)
}
