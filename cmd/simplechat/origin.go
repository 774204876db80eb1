package main

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// checkOrigin returns an error for a value of --cors-origin that no browser sends as
// Origin (RFC 6454, section 6.1). The error names the value that a browser sends.
func checkOrigin(origin string) error {
	if origin == "*" || origin == "null" {
		return nil
	}
	const form = "write SCHEME://HOST or SCHEME://HOST:PORT, such as https://chat.example.com"
	if strings.ContainsAny(origin, " ,;\t") {
		return fmt.Errorf("--cors-origin %q: it contains more than one origin: give the flag once for each", origin)
	}
	u, err := url.Parse(strings.Replace(origin, "*", "x", 1))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("--cors-origin %q: it is not an origin: %s", origin, form)
	}
	if strings.ContainsFunc(origin, func(r rune) bool { return r > unicode.MaxASCII }) {
		return fmt.Errorf("--cors-origin %q: browsers send such a host in ASCII: give that form, which begins a part of the name with xn--", origin)
	}
	want := strings.ToLower(origin)
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(origin, "?") || strings.HasSuffix(origin, "#") {
		return fmt.Errorf("--cors-origin %q: an origin has only a scheme, a host and a port, without a slash at the end: %s", origin, form)
	}
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		want = strings.TrimSuffix(want, ":"+port) // browsers leave out the default port of the scheme
	}
	if origin != want {
		return fmt.Errorf("--cors-origin %q: browsers send it in another form: give %s", origin, want)
	}
	return nil
}
