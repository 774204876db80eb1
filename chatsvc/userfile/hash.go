package userfile

import (
	"errors"
	"fmt"
	"strings"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// Bounds on the cost of one comparison, for hashes that other programs have made.
const (
	maxMemory     = 256 << 10 // KiB
	maxIterations = 16
	maxBcryptCost = 15 // about two seconds
)

// defaultParams is OWASP's first choice for argon2id: 19 MiB, two passes, one
// thread. With larger parameters, each running comparison would need more memory.
var defaultParams = &argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// errPlain means that a password is not hashed.
var errPlain = errors.New("is not hashed")

// Hash returns the argon2id hash of a password in PHC form. It takes tens of
// milliseconds of CPU and 19 MiB.
func Hash(password string) (string, error) {
	return argon2id.CreateHash(norm.NFC.String(password), defaultParams)
}

// checkHash returns an error that says why hash cannot be used. The error does not contain
// the hash, which might be a password.
func checkHash(hash string) error {
	switch {
	case isBcrypt(hash):
		cost, err := bcrypt.Cost([]byte(hash))
		if err != nil || len(hash) != 60 {
			return errors.New("is not a valid bcrypt hash")
		}
		if cost > maxBcryptCost {
			return fmt.Errorf("is a bcrypt hash with the cost %d, but at most %d is allowed", cost, maxBcryptCost)
		}
		return nil
	case strings.HasPrefix(hash, "$argon2id$"):
		p, salt, key, err := argon2id.DecodeHash(hash)
		if err != nil || p.Iterations < 1 || p.Parallelism < 1 || len(salt) < 8 || len(key) < 16 {
			return errors.New("is not a valid argon2id hash")
		}
		if p.Memory > maxMemory || p.Iterations > maxIterations || len(salt) > 64 || len(key) > 64 {
			return fmt.Errorf("is an argon2id hash that takes too much memory or time: at most m=%d and t=%d are allowed", maxMemory, maxIterations)
		}
		return nil
	}
	return errPlain
}

// matches reports whether password has the given hash, which checkHash accepts.
func matches(password, hash string) bool {
	if isBcrypt(hash) {
		return bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil
	}
	ok, err := argon2id.ComparePasswordAndHash(norm.NFC.String(password), hash)
	return ok && err == nil
}

func isBcrypt(hash string) bool {
	return strings.HasPrefix(hash, "$2a$") || strings.HasPrefix(hash, "$2b$") || strings.HasPrefix(hash, "$2y$")
}
