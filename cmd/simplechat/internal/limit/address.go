package limit

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

type (
	addressKey struct{}
	hostKey    struct{}
)

// Handler sets the address of each request to the client's address, for the limits and the
// log. Behind a trusted proxy, that is the address that the proxy names.
func (l *Limits) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)
		direct := peer.Addr().Unmap()
		address := direct
		if forwarded := l.forwarded(address, r.Header); forwarded != address {
			address = forwarded
			peer = netip.AddrPortFrom(address, 0)
		}
		ctx := context.WithValue(r.Context(), addressKey{}, address)
		if host := r.Header.Get("X-Forwarded-Host"); host != "" && l.isProxy(direct) {
			ctx = context.WithValue(ctx, hostKey{}, host)
		}
		r = r.WithContext(ctx)
		if peer.IsValid() {
			r.RemoteAddr = peer.String()
		}
		next.ServeHTTP(w, r)
	})
}

// isProxy reports whether a peer may name the client. A peer on a Unix socket may, as it has
// no address, and the file's permissions decide who connects.
func (l *Limits) isProxy(peer netip.Addr) bool { return !peer.IsValid() || l.isTrusted(peer) }

// forwarded returns the client's address: if the peer is a proxy that may name it, the last address in
// X-Forwarded-For that is not a trusted proxy; otherwise the peer.
func (l *Limits) forwarded(peer netip.Addr, h http.Header) netip.Addr {
	if !l.isProxy(peer) {
		return peer
	}
	hops := strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	client := peer
	for _, hop := range slices.Backward(hops) {
		address, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			break // the addresses before it cannot be trusted
		}
		client = address
		if !l.isTrusted(client) {
			break
		}
	}
	return client
}

// parseHop returns the address in an element of X-Forwarded-For. Some proxies add a port, and
// put an IPv6 address in brackets.
func parseHop(hop string) (address netip.Addr, ok bool) {
	if withPort, err := netip.ParseAddrPort(hop); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop = strings.TrimSuffix(inner, "]")
	}
	address, err := netip.ParseAddr(hop)
	return address.Unmap().WithZone(""), err == nil
}

func (l *Limits) isTrusted(a netip.Addr) bool {
	return slices.ContainsFunc(l.config.Trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}

// ForwardedHost returns the host that the client used to call a trusted proxy, or the empty
// string.
func ForwardedHost(ctx context.Context) string {
	host, _ := ctx.Value(hostKey{}).(string)
	return host
}

// isExempt reports whether the limits of a single caller do not apply at an address:
// many callers may share it.
func (l *Limits) isExempt(a netip.Addr) bool {
	return !a.IsValid() || a.IsLoopback() || l.isTrusted(a)
}

// addressOf returns the client's address in a call's context.
func addressOf(ctx context.Context) netip.Addr {
	address, _ := ctx.Value(addressKey{}).(netip.Addr)
	return address
}

// network returns the network that counts as one address for the limits: for IPv6 it is a
// /64.
func network(a netip.Addr) string {
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

// perAddress returns limit, or 0 (no limit) for an exempt address.
func (l *Limits) perAddress(a netip.Addr, limit int) int {
	if l.isExempt(a) {
		return 0
	}
	return limit
}
