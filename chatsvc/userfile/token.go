package userfile

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// tokenPrefix lets secret scanners and people recognize a token.
	tokenPrefix = "sct_"
	// tokensSuffix is the end of the name of the tokens' file.
	tokensSuffix = ".tokens"
	// maxLabel bounds a token's label in bytes.
	maxLabel = 128
)

// Token is a stored token. It does not contain the secret.
type Token struct {
	User    string    `json:"user"`    // name of its user
	Label   string    `json:"label"`   // 1 to 128 bytes, different for each token of a user
	Created time.Time `json:"created"` // when it was made
	// Hash is the SHA-256 of the secret in hexadecimal. The secret has 130 random
	// bits, which no slower hash would protect better.
	Hash string `json:"hash"`
}

// tokensFile is the content of FILE.tokens.
type tokensFile struct {
	Tokens []Token `json:"tokens"`
}

// newToken returns a token and its secret.
func newToken(user, label string) (Token, string) {
	secret := tokenPrefix + rand.Text()
	digest := sha256.Sum256([]byte(secret))
	return Token{User: user, Label: label, Created: time.Now().UTC().Truncate(time.Second), Hash: hex.EncodeToString(digest[:])}, secret
}

// readTokens reads the tokens of the users' file at path. It returns none if the tokens'
// file does not exist yet.
func readTokens(path string) ([]Token, error) {
	path += tokensSuffix
	data, err := os.ReadFile(path) //nolint:gosec // the caller names the file
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err // its text has the path
	}
	var file tokensFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: %w: restore it, or delete it to revoke all tokens", path, err)
	}
	for i := range file.Tokens {
		token := &file.Tokens[i]
		token.User = NormalizeName(token.User)
		if err := token.check(); err != nil {
			return nil, fmt.Errorf("%s: token %d: %w", path, i+1, err)
		}
	}
	return file.Tokens, nil
}

func (t Token) check() error {
	if digest, err := hex.DecodeString(t.Hash); err != nil || len(digest) != sha256.Size {
		return errors.New("the hash is not a SHA-256 in hexadecimal")
	}
	return checkLabel(t.Label)
}

func checkLabel(label string) error {
	if label == "" || len(label) > maxLabel || !utf8.ValidString(label) || strings.ContainsFunc(label, unicode.IsControl) {
		return fmt.Errorf("the label %q must have 1 to %d bytes of UTF-8 without control characters", label, maxLabel)
	}
	return nil
}
