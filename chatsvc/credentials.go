package chatsvc

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// The headers in which Qt's client sends credentials, in UTF-8.
const (
	HeaderUserName     = "User-Name"
	HeaderUserPassword = "User-Password"
)

const (
	headerAuthorization   = "Authorization"
	headerWWWAuthenticate = "WWW-Authenticate"
	challenge             = `Basic realm="SimpleChat", charset="UTF-8"`
)

// Credentials returns the name and the password in a request's headers:
// Authorization with the scheme Basic (RFC 7617, UTF-8; the password may contain
// colons), or else [HeaderUserName] and [HeaderUserPassword]. If both are present,
// Authorization is used. For missing or malformed credentials the error wraps
// [ErrUnauthenticated].
func Credentials(h http.Header) (name, password string, err error) {
	if values := h.Values(headerAuthorization); len(values) > 0 {
		if len(values) > 1 {
			return "", "", unauthenticated("there are %d Authorization headers: send one", len(values))
		}
		return parseBasic(values[0])
	}
	names, passwords := h.Values(HeaderUserName), h.Values(HeaderUserPassword)
	if len(names) == 0 || len(passwords) == 0 {
		return "", "", unauthenticated("no credentials: send Authorization: Basic, or user-name and user-password")
	}
	// Qt's reference server takes the last of several.
	name, password = names[len(names)-1], passwords[len(passwords)-1]
	if !utf8.ValidString(name) || !utf8.ValidString(password) {
		return "", "", unauthenticated("user-name or user-password is not UTF-8")
	}
	return name, password, nil
}

// parseBasic reads the value of an Authorization header (RFC 7617, section 2).
func parseBasic(value string) (name, password string, err error) {
	scheme, token, _ := strings.Cut(value, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", unauthenticated("the Authorization scheme is not Basic: this server accepts only Basic")
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.Trim(token, " "))
	if err != nil {
		return "", "", unauthenticated("Authorization: Basic must be followed by the base64 of NAME:PASSWORD")
	}
	name, password, ok := strings.Cut(string(decoded), ":")
	if !ok {
		return "", "", unauthenticated("Authorization: Basic has no colon between name and password")
	}
	if !utf8.Valid(decoded) {
		return "", "", unauthenticated("Authorization: Basic is not UTF-8")
	}
	return name, password, nil
}

type credentialsError struct{ text string }

func (e *credentialsError) Error() string { return e.text }

func (e *credentialsError) Is(target error) bool { return target == ErrUnauthenticated }

func unauthenticated(format string, args ...any) error {
	return &credentialsError{fmt.Sprintf(format, args...)}
}
