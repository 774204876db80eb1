package chatsvc

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protojson"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// maxUserName and maxPassword are the largest sizes in a user database, in bytes.
const (
	maxUserName = 256
	maxPassword = 1024
)

// DemoUsers returns the users of Qt's reference server: user1 to user5, each
// with the password qwerty. Use them only for demonstrations.
func DemoUsers() *chatpb.Users {
	users := &chatpb.Users{}
	for i := 1; i <= 5; i++ {
		users.Users = append(users.Users, &chatpb.User{Name: fmt.Sprintf("user%d", i), Password: "qwerty"})
	}
	return users
}

// ParseUsers reads a user database in protobuf's JSON form,
//
//	{"users": [{"name": "ada", "password": "correct horse"}]}
//
// and checks it like [NewUserAuthenticator]. An error says what is wrong; for malformed
// JSON it has the line. It contains no password.
func ParseUsers(data []byte) (*chatpb.Users, error) {
	users := &chatpb.Users{}
	if err := protojson.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), users); err != nil {
		// protojson's error may quote a password, so only the position and the field are shown.
		where := safeJSONError.FindString(jsonError(err).Error())
		return nil, fmt.Errorf(`%s: it is not a user database: write {"users": [{"name": "ada", "password": "..."}]}`, cmp.Or(where, "end of the text"))
	}
	if err := validateUsers(users); err != nil {
		return nil, err
	}
	return users, nil
}

// safeJSONError matches the part of protojson's error that contains no value.
var safeJSONError = regexp.MustCompile(`\(line \d+:\d+\)(: unknown field "[A-Za-z_]+")?`)

// validateUsers returns an error that names the first user that could not log in.
func validateUsers(users *chatpb.Users) error {
	if len(users.GetUsers()) == 0 {
		return errors.New(`there are no users: at least one is needed, as in {"users": [{"name": "ada", "password": "..."}]}`)
	}
	seen := make(map[string]bool, len(users.GetUsers()))
	for i, user := range users.GetUsers() {
		if err := ValidateUser(user); err != nil {
			return fmt.Errorf("user %d: %w", i+1, err)
		}
		if seen[user.GetName()] {
			return fmt.Errorf("user %d: the name %q occurs twice", i+1, user.GetName())
		}
		seen[user.GetName()] = true
	}
	return nil
}

// ValidateUser returns an error that says why it would be impossible to log in as user. A
// name has 1 to 256 bytes, and a password 1 to 1,024. Both are UTF-8 without control
// characters. A name has no colon, and no space at its ends. The error does not contain the
// password.
func ValidateUser(user *chatpb.User) error {
	name, password := user.GetName(), user.GetPassword()
	switch {
	case name == "":
		return errors.New("the name is missing")
	case !utf8.ValidString(name) || strings.ContainsFunc(name, isControl) || strings.Contains(name, ":"):
		// RFC 7617, section 2: a user-id has no colon, and neither has control characters.
		return fmt.Errorf("the name %q has a colon, a control character or is not UTF-8", name)
	case strings.TrimSpace(name) != name:
		return fmt.Errorf("the name %q begins or ends with a space", name)
	case len(name) > maxUserName:
		return fmt.Errorf("the name is longer than %d bytes", maxUserName)
	case password == "":
		return fmt.Errorf("%q has no password", name)
	case !utf8.ValidString(password) || strings.ContainsFunc(password, isControl):
		return fmt.Errorf("the password of %q has a control character or is not UTF-8", name)
	case len(password) > maxPassword:
		return fmt.Errorf("the password of %q is longer than %d bytes", name, maxPassword)
	}
	return nil
}

// userAuthenticator keeps digests of its users' passwords.
type userAuthenticator struct {
	digests map[string][sha256.Size]byte
	unknown [sha256.Size]byte // compared with the password of an unknown user
}

var _ Authenticator = (*userAuthenticator)(nil)

// NewUserAuthenticator returns an [Authenticator] for the [Credentials] of a
// user database. An unknown user costs the same work and gets the same answer
// as a wrong password. It fails if there is no user, if [ValidateUser] fails for one, or if
// a name occurs twice. The database is read once: later changes have no effect.
func NewUserAuthenticator(users *chatpb.Users) (Authenticator, error) {
	if err := validateUsers(users); err != nil {
		return nil, fmt.Errorf("users: %w", err)
	}
	a := &userAuthenticator{digests: make(map[string][sha256.Size]byte)}
	for _, user := range users.GetUsers() {
		a.digests[user.GetName()] = sha256.Sum256([]byte(user.GetPassword()))
	}
	rand.Read(a.unknown[:])
	return a, nil
}

// Authenticate implements [Authenticator].
func (a *userAuthenticator) Authenticate(_ context.Context, header http.Header) (User, error) {
	name, password, err := Credentials(header)
	if err != nil {
		return User{}, err
	}
	want, known := a.digests[name]
	if !known {
		want = a.unknown
	}
	got := sha256.Sum256([]byte(password))
	if subtle.ConstantTimeCompare(got[:], want[:]) == 0 || !known {
		return User{}, unauthenticated("user name or password is wrong")
	}
	return User{Name: name}, nil
}
