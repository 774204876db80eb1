package chatsvc

import (
	"errors"
	"net/http"

	"connectrpc.com/connect"
)

// siteGuard refuses calls that a browser sends for a page of another site without asking
// the server first: a GET, and a POST with one of the content types of HTML forms. All
// other calls need a preflight, so the server's CORS decides.
type siteGuard struct {
	trusts     func(r *http.Request) bool // allows a call that would be refused; may be nil
	protection http.CrossOriginProtection
}

var errOtherSite = errors.New("a page of another site may not call: open the page of this server, or allow the other page's origin on the server")

// check returns an error for a call that is refused.
func (g *siteGuard) check(r *http.Request, f face) error {
	var refused bool
	switch {
	case r.Method == http.MethodGet: // protection allows every GET
		refused = r.Header.Get("Sec-Fetch-Site") == "cross-site"
	case f == facePlain:
		refused = g.protection.Check(r) != nil
	}
	if !refused || g.trusts != nil && g.trusts(r) {
		return nil
	}
	return connect.NewError(connect.CodePermissionDenied, errOtherSite)
}
