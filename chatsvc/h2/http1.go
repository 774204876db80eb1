package h2

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// net/http serves HTTP/1.1. In two points it is too strict for clients and proxies that
// follow the standards; this file handles those.

const (
	// maxBlank is how many bytes of empty lines may come before the first
	// request (RFC 9112, section 2.2): some clients send one after a body.
	maxBlank = 4
	// restBytes and restWait bound how much of the rest of a refused request is read,
	// and for how long. A connection that closes with unread bytes is reset, and the
	// client may lose the response.
	restBytes = 4 << 20
	restWait  = 5 * time.Second
)

// http1Handler is the handler of the [http.Server].
type http1Handler struct{ http.Handler }

// ServeHTTP implements [http.Handler]. If the connection ends with the response,
// it reads a part of the rest of the request first, unless the client waits for 100
// (Continue).
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

// trimBlank returns how many of the first bytes belong to empty lines, at most blank, and
// how many further bytes may belong to empty lines.
func trimBlank(first []byte, blank int) (skip, more int) {
	may := first[:min(len(first), blank)]
	skip = len(may) - len(bytes.TrimLeft(may, "\r\n"))
	if skip < len(may) || skip == blank { // the request begins
		return skip, 0
	}
	return skip, blank - skip
}
