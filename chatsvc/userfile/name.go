package userfile

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// NormalizeName returns the form of a user's name in which names are compared
// and stored: Unicode's normalization form C.
func NormalizeName(name string) string { return norm.NFC.String(name) }

// normalizeNames normalizes the names of users. It returns an error if two names look the
// same to a reader.
func normalizeNames(users []*chatpb.User) error {
	seen := make(map[string]string, len(users)) // by what is visible
	for i, user := range users {
		user.Name = NormalizeName(user.GetName())
		visible := visibleName(user.GetName())
		if strings.TrimSpace(visible) == "" {
			return fmt.Errorf("user %d: the name %+q has no visible character", i+1, user.GetName())
		}
		switch other, ok := seen[visible]; {
		case ok && other == user.GetName():
			return fmt.Errorf("user %d: the name %q occurs twice", i+1, other)
		case ok:
			return fmt.Errorf("user %d: the names %+q and %+q differ only in invisible characters: rename one of them", i+1, user.GetName(), other)
		}
		seen[visible] = user.GetName()
	}
	return nil
}

// visibleName returns name without invisible characters, and with one kind of space. The
// result is normalized again, because an invisible character may have separated two
// characters that compose.
func visibleName(name string) string {
	return NormalizeName(strings.Map(func(r rune) rune {
		switch {
		case unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		case unicode.IsSpace(r), r == '\u2800': // a blank Braille pattern
			return ' '
		}
		return r
	}, name))
}
