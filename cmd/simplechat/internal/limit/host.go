package limit

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Hosts refuses requests whose Host is not localhost, an IP address or one of
// allowed. Otherwise a page of another site could reach a server on loopback under a
// name that resolves to it (DNS rebinding).
func Hosts(allowed []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host, allowed) {
			http.Error(w, "this server does not accept the host name in the request: call it as localhost, or start it with --allow-host HOST", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLocalHost(host string, allowed []string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, host) })
}
