package userfile

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/text/unicode/norm"

	"example.com/simplechat/chatsvc"
)

// Authenticator authenticates the users and tokens of a file. It accepts user names with
// passwords as [chatsvc.Credentials] reads them, a token in place of the password,
// and a token alone as Authorization: Bearer. It is safe for concurrent use.
type Authenticator struct {
	path     string
	logger   *slog.Logger
	digester *digester
	hasher   *hasher
	accounts atomic.Pointer[accounts]
	proven   atomic.Int64

	mu    sync.Mutex // held during a reload
	state fileState  // the state of the files when they were read last
}

var _ chatsvc.Authenticator = (*Authenticator)(nil)

// Open reads the users' file at path, and the tokens' file beside it. It fails if the
// file has no user, or if its content is not valid. Later reloads are logged to logger;
// nil discards these messages.
func Open(path string, logger *slog.Logger) (*Authenticator, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	a := &Authenticator{path: path, logger: logger, digester: newDigester(), hasher: newHasher()}
	a.accounts.Store(&accounts{})
	if err := a.load(); err != nil {
		return nil, err
	}
	return a, nil
}

// Reload reads the files again. If that fails, the users stay unchanged. Otherwise the
// streams of users and tokens that were removed, and of users with a new password, end.
// Both results are logged.
func (a *Authenticator) Reload() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reload()
}

// reloadChanged reloads the files if they have changed since they were read, and
// reports whether that has succeeded.
func (a *Authenticator) reloadChanged() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.state.equals(stateOf(a.path)) && a.reload() == nil
}

// reload is Reload. The caller holds mu.
func (a *Authenticator) reload() error {
	if err := a.load(); err != nil {
		a.logger.Error("users: the file cannot be used, and the users stay unchanged", "error", err)
		return err
	}
	accounts := a.accounts.Load()
	a.logger.Info("users: read again", "users", len(accounts.users), "tokens", len(accounts.tokens))
	return nil
}

// load reads the files. The caller holds mu, or is the only user of a.
func (a *Authenticator) load() error {
	a.state = stateOf(a.path) // before they are read, so that a later change is noticed
	users, err := readUsers(a.path, onlyValid)
	if err != nil {
		return err
	}
	tokens, err := readTokens(a.path)
	if err != nil {
		return err
	}
	now, gone := newAccounts(users, tokens, a.accounts.Load())
	a.accounts.Store(now)
	for _, account := range gone {
		close(account.gone)
	}
	return nil
}

// Authenticate implements [chatsvc.Authenticator]. An unknown user costs the same work
// and gets the same answer as a wrong password. Before it refuses a call, it checks
// whether the files have changed, so a new token works at once. While too many users
// wait for their first login, it returns resource_exhausted with
// [chatsvc.HeaderRetryAfter].
func (a *Authenticator) Authenticate(ctx context.Context, header http.Header) (chatsvc.User, error) {
	before := a.accounts.Load()
	account, err := a.authenticate(ctx, header)
	if errors.Is(err, chatsvc.ErrUnauthenticated) && (a.reloadChanged() || a.accounts.Load() != before) {
		account, err = a.authenticate(ctx, header)
	}
	if err != nil {
		return chatsvc.User{}, err
	}
	return chatsvc.User{Name: account.name, Revoked: account.gone}, nil
}

func (a *Authenticator) authenticate(ctx context.Context, header http.Header) (*account, error) {
	if secret, ok := bearer(header); ok {
		if token := a.token(secret); token != nil {
			return token, nil
		}
		return nil, refused("the token is not known: it may have been revoked")
	}
	name, password, err := chatsvc.Credentials(header)
	if err != nil {
		return nil, err
	}
	return a.login(ctx, NormalizeName(name), password)
}

// login returns the account of a user name and a password or token.
func (a *Authenticator) login(ctx context.Context, name, password string) (*account, error) {
	wrong := refused("user name or password is wrong")
	if token := a.token(password); token != nil && token.name == name {
		return token, nil
	}
	if len(name) > maxName || len(password) > maxPassword {
		return nil, wrong // such credentials cannot exist, and would take time to hash
	}
	accounts := a.accounts.Load()
	account, known := accounts.users[name]
	if !known {
		account = accounts.decoy(a.digester.of(name))
	}
	if !isBcrypt(account.hash) {
		password = norm.NFC.String(password) // the same digest for each way to type it
	}
	key := a.digester.of(name, password)
	if account.isProven(key) {
		a.proven.Add(1)
		return account, nil
	}
	ok, err := a.hasher.prove(ctx, account, key, password)
	switch {
	case err != nil:
		return nil, err
	case !ok || !known || account.isGone():
		return nil, wrong
	}
	return account, nil
}

// Bounds on the texts that are hashed, in bytes, as in [chatsvc.ValidateUser].
const (
	maxName     = 256
	maxPassword = 1024
)

// token returns the account of a token, or nil.
func (a *Authenticator) token(secret string) *account {
	if !strings.HasPrefix(secret, tokenPrefix) || len(secret) > maxPassword {
		return nil
	}
	return a.accounts.Load().tokens[sha256.Sum256([]byte(secret))]
}

// Stats are the counts of an [Authenticator] since it was opened.
type Stats struct {
	Proven  int64 // logins with a password that was right before
	Hashed  int64 // comparisons of a password with a hash
	Refused int64 // logins that were refused because the queue was full
}

// Stats returns the counts.
func (a *Authenticator) Stats() Stats {
	return Stats{Proven: a.proven.Load(), Hashed: a.hasher.hashed.Load(), Refused: a.hasher.refused.Load()}
}

// bearer returns the token of Authorization: Bearer (RFC 6750, section 2.1).
func bearer(header http.Header) (token string, ok bool) {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return "", false // chatsvc.Credentials returns the error
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	return strings.Trim(token, " "), strings.EqualFold(scheme, "Bearer")
}

// refusedError is an error that callers see.
type refusedError struct{ text string }

func (e *refusedError) Error() string        { return e.text }
func (e *refusedError) Is(target error) bool { return target == chatsvc.ErrUnauthenticated }

func refused(text string) error { return &refusedError{text} }
