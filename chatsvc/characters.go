package chatsvc

import (
	"strings"
)

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func visibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
