package main

import (
	"fmt"
	"net/url"
	"strings"
)

// checkOrigin returns an error for a value of --cors-origin that no browser sends as
// its Origin (RFC 6454, section 6.1), and says which one it would send.
func checkOrigin(origin string) error {
	if origin == "*" || origin == "null" {
		return nil
	}
	const form = "write SCHEME://HOST or SCHEME://HOST:PORT, such as https://chat.example.com"
	if strings.ContainsAny(origin, " ,;\t") {
		return fmt.Errorf("--cors-origin %q: there is more than one origin in it: give the flag once for each", origin)
	}
	u, err := url.Parse(strings.Replace(origin, "*", "x", 1))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return fmt.Errorf("--cors-origin %q: it is no origin: %s", origin, form)
	}
	want := strings.ToLower(origin)
	if u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(origin, "?") || strings.HasSuffix(origin, "#") {
		return fmt.Errorf("--cors-origin %q: an origin has nothing but a scheme, a host and a port, and no slash at its end: %s", origin, form)
	}
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		want = strings.TrimSuffix(want, ":"+port) // browsers leave the scheme's own out
	}
	if origin != want {
		return fmt.Errorf("--cors-origin %q: no browser sends it like that: give %s", origin, want)
	}
	return nil
}
