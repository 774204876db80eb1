package userfile

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync/atomic"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// digest is a keyed digest of credentials, or of a token.
type digest = [sha256.Size]byte

// account is a way to log in: a user with a password, or a token. A reload keeps the
// account if its hash has not changed.
type account struct {
	name string
	hash string // as in the file
	// proven is the digest of the password that has matched hash; nil before the first
	// match.
	proven atomic.Pointer[digest]
	gone   chan struct{} // closed when the account is no longer in the file
}

// isGone reports whether the account is no longer in the file.
func (a *account) isGone() bool {
	select {
	case <-a.gone:
		return true
	default:
		return false
	}
}

// isProven reports whether key is the digest of a password that has matched.
func (a *account) isProven(key digest) bool {
	proven := a.proven.Load()
	return proven != nil && hmac.Equal(proven[:], key[:])
}

// accounts is the content of the files at one moment. It is never changed.
type accounts struct {
	users  map[string]*account // by name
	names  []string            // of users
	tokens map[digest]*account // by the SHA-256 of the secret
}

// newAccounts returns the accounts of the files. Accounts in before that have the same
// hash are reused; the others in before are returned as gone.
func newAccounts(users []*chatpb.User, tokens []Token, before *accounts) (now *accounts, gone []*account) {
	now = &accounts{users: make(map[string]*account, len(users)), tokens: make(map[digest]*account, len(tokens))}
	for _, user := range users {
		name := user.GetName()
		now.users[name] = keep(before.users[name], name, user.GetPassword())
		now.names = append(now.names, name)
	}
	for _, token := range tokens {
		if now.users[token.User] == nil {
			continue // the user was removed with a text editor
		}
		var d digest
		_, _ = hex.Decode(d[:], []byte(token.Hash)) // readTokens has checked it
		now.tokens[d] = keep(before.tokens[d], token.User, token.Hash)
	}
	for name, old := range before.users {
		if now.users[name] != old {
			gone = append(gone, old)
		}
	}
	for d, old := range before.tokens {
		if now.tokens[d] != old {
			gone = append(gone, old)
		}
	}
	return now, gone
}

// keep returns old if it has the same name and hash, or a new account.
func keep(old *account, name, hash string) *account {
	if old != nil && old.name == name && old.hash == hash {
		return old
	}
	return &account{name: name, hash: hash, gone: make(chan struct{})}
}

// decoy returns an account for an unknown name. Nobody can log in with it, but comparing a
// password with it takes as long as with an existing account. The same name always gets
// the same decoy. So the time does not reveal which names exist.
func (a *accounts) decoy(d digest) *account {
	n := uint(d[0])<<16 | uint(d[1])<<8 | uint(d[2])
	return &account{hash: a.users[a.names[n%uint(len(a.names))]].hash, gone: make(chan struct{})}
}

// digester makes digests with a random key, which differs in each process.
type digester struct{ key [32]byte }

func newDigester() *digester {
	d := &digester{}
	rand.Read(d.key[:])
	return d
}

// of returns the digest of texts. Only the last one may contain a zero byte.
func (d *digester) of(texts ...string) (sum digest) {
	mac := hmac.New(sha256.New, d.key[:])
	for _, text := range texts {
		mac.Write([]byte{0})
		mac.Write([]byte(text))
	}
	mac.Sum(sum[:0])
	return sum
}
