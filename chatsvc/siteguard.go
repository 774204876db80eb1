package chatsvc

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

// siteGuard refuses what a browser sends for a page of another site without asking the
// server first: a GET, and a POST with one of the content types of HTML's forms. All
// other calls need a preflight, which is a matter of the server's CORS.
type siteGuard struct {
	trusts     func(r *http.Request) bool // allows a call all the same; may be nil
	protection http.CrossOriginProtection
}

var errOtherSite = errors.New("a page of another site may not call: open the page of this server, or let the server allow that page's origin")

// check returns an error for a call that is refused.
func (g *siteGuard) check(r *http.Request, f face) error {
	var refused bool
	switch {
	case r.Method == http.MethodGet: // the protection lets every GET pass
		refused = r.Header.Get("Sec-Fetch-Site") == "cross-site"
	case f == facePlain:
		refused = g.protection.Check(r) != nil
	}
	if !refused || g.trusts != nil && g.trusts(r) {
		return nil
	}
	return connect.NewError(connect.CodePermissionDenied, errOtherSite)
}
