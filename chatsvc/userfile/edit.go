package userfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Editor changes the users and tokens of a file. It is valid only inside [Edit], and
// is not safe for concurrent use. All of its methods normalize names.
type Editor struct {
	users         []*chatpb.User
	tokens        []Token
	tokensChanged bool
	usersChanged  bool
}

// Edit calls change with the users and tokens at path, and stores the changes
// unless change returns an error. Only one Edit of a file runs at a time, in all processes;
// others wait until ctx is done. A missing file has no users. Edit fails if a password in
// the file is not hashed: see [HashPlain].
func Edit(ctx context.Context, path string, change func(*Editor) error) error {
	return edit(ctx, path, onlyHashes, change)
}

// HashPlain replaces the plain passwords in the file at path by their hashes, and returns
// how many it has replaced.
func HashPlain(ctx context.Context, path string) (hashed int, err error) {
	err = edit(ctx, path, anything, func(e *Editor) error {
		for _, user := range e.users {
			if !errors.Is(checkHash(user.GetPassword()), errPlain) {
				continue
			}
			if user.Password, err = Hash(user.GetPassword()); err != nil {
				return err
			}
			hashed++
		}
		e.usersChanged = hashed > 0
		return nil
	})
	return hashed, err
}

func edit(ctx context.Context, path string, strict strictness, change func(*Editor) error) error {
	lock := flock.New(path+".lock", flock.SetPermissions(fileMode))
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	defer lock.Unlock() //nolint:errcheck // the system does when the process ends
	e := &Editor{}
	var err error
	if e.users, err = readUsers(path, strict); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if strict == anything && err != nil { // nothing to hash
		return err
	}
	if e.tokens, err = readTokens(path); err != nil {
		return err
	}
	if err := change(e); err != nil {
		return err
	}
	return e.store(path)
}

// store writes the changed files. The tokens' file comes first: the tokens of a removed
// user must not exist when a new user gets the same name.
func (e *Editor) store(path string) error {
	if e.tokensChanged {
		if err := writeJSON(path+tokensSuffix, tokensFile{e.tokens}); err != nil {
			return err
		}
	}
	if e.usersChanged {
		return writeUsers(path, e.users)
	}
	return nil
}

// Add adds a user with the hash of a password. The name must be new, and valid for
// [chatsvc.ValidateUser].
func (e *Editor) Add(name, hash string) error {
	name = NormalizeName(name)
	if e.find(name) >= 0 {
		return fmt.Errorf("the user %q exists already: change the password with simplechat users passwd", name)
	}
	if err := checkHash(hash); err != nil {
		return fmt.Errorf("the password of %q %w", name, err)
	}
	user := &chatpb.User{Name: name, Password: hash}
	if err := chatsvc.ValidateUser(user); err != nil {
		return err
	}
	users := append(slices.Clone(e.users), user)
	if err := normalizeNames(users); err != nil {
		return err
	}
	e.users, e.usersChanged = users, true
	return nil
}

// SetHash replaces the hash of a user's password.
func (e *Editor) SetHash(name, hash string) error {
	i, err := e.mustFind(name)
	if err != nil {
		return err
	}
	if err := checkHash(hash); err != nil {
		return fmt.Errorf("the password of %q %w", name, err)
	}
	e.users[i].Password, e.usersChanged = hash, true
	return nil
}

// Remove removes a user and its tokens. The last user cannot be removed: a server refuses a
// file without users, and would keep the old users.
func (e *Editor) Remove(name string) error {
	i, err := e.mustFind(name)
	if err != nil {
		return err
	}
	if len(e.users) == 1 {
		return fmt.Errorf("%q is the only user, and a server needs one: add another one first", name)
	}
	user := e.users[i].GetName()
	e.users, e.usersChanged = slices.Delete(e.users, i, i+1), true
	e.deleteTokens(func(t Token) bool { return t.User == user })
	return nil
}

// AddToken makes a token for a user, and returns its secret. Only a hash of it is stored.
func (e *Editor) AddToken(name, label string) (secret string, err error) {
	i, err := e.mustFind(name)
	if err != nil {
		return "", err
	}
	if err := checkLabel(label); err != nil {
		return "", err
	}
	name = e.users[i].GetName()
	if slices.ContainsFunc(e.tokens, func(t Token) bool { return t.User == name && t.Label == label }) {
		return "", fmt.Errorf("%q has a token with the label %q already: choose another label, or revoke it first", name, label)
	}
	token, secret := newToken(name, label)
	e.tokens, e.tokensChanged = append(e.tokens, token), true
	return secret, nil
}

// RevokeToken removes the token of a user with a label.
func (e *Editor) RevokeToken(name, label string) error {
	name = NormalizeName(name)
	if !e.deleteTokens(func(t Token) bool { return t.User == name && t.Label == label }) {
		return fmt.Errorf("%q has no token with the label %q: see simplechat users token list", name, label)
	}
	return nil
}

// deleteTokens removes the tokens for which f returns true, and reports whether there were
// any.
func (e *Editor) deleteTokens(f func(Token) bool) bool {
	before := len(e.tokens)
	e.tokens = slices.DeleteFunc(e.tokens, f)
	if len(e.tokens) == before {
		return false
	}
	e.tokensChanged = true
	return true
}

func (e *Editor) find(name string) int {
	return slices.IndexFunc(e.users, func(u *chatpb.User) bool { return u.GetName() == name })
}

func (e *Editor) mustFind(name string) (int, error) {
	name = NormalizeName(name)
	if i := e.find(name); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("there is no user %q: see simplechat users list", name)
}

// List returns the names of the users in the file at path, and the tokens, both sorted.
func List(path string) (names []string, tokens []Token, err error) {
	users, err := readUsers(path, anything)
	if err != nil {
		return nil, nil, err
	}
	for _, user := range users {
		names = append(names, user.GetName())
	}
	if tokens, err = readTokens(path); err != nil {
		return nil, nil, err
	}
	slices.Sort(names)
	slices.SortFunc(tokens, func(a, b Token) int { return cmp.Or(cmp.Compare(a.User, b.User), cmp.Compare(a.Label, b.Label)) })
	return names, tokens, nil
}
