package h2

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// HTTP/1.1 is net/http's, apart from two things that are too strict there for
// clients and proxies that keep to the rules.

const (
	// maxBlank is how many bytes of empty lines may stand before the first
	// request (RFC 9112, section 2.2): some clients send one behind a body.
	maxBlank = 4
	// restBytes and restWait bound what is read of the rest of a request that
	// was refused. A connection that closes with bytes unread is reset, and the
	// client may lose the answer.
	restBytes = 4 << 20
	restWait  = 5 * time.Second
)

// http1Handler is the handler of the [http.Server].
type http1Handler struct{ http.Handler }

// ServeHTTP implements [http.Handler]. If the connection ends with the answer,
// it reads a part of the request's rest first, unless the client waits to be
// asked for it.
func (h http1Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, asks := r.Body, r.Header.Get("Expect") != ""
	h.Handler.ServeHTTP(w, r)
	if asks || body == http.NoBody || !r.Close && w.Header().Get("Connection") != "close" {
		return
	}
	if http.NewResponseController(w).SetReadDeadline(time.Now().Add(restWait)) == nil {
		_, _ = io.CopyN(io.Discard, body, restBytes)
	}
}

// trimBlank returns how many of the first bytes, of which blank more may be part
// of empty lines, are, and how many may still be.
func trimBlank(first []byte, blank int) (skip, more int) {
	may := first[:min(len(first), blank)]
	skip = len(may) - len(bytes.TrimLeft(may, "\r\n"))
	if skip < len(may) || skip == blank { // the request begins
		return skip, 0
	}
	return skip, blank - skip
}
