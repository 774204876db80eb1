package h2

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
)

// Header blocks are written without a dynamic table and without Huffman codes: the
// short headers of responses are not worth a table for each connection, and a block that
// depends on no other block can be made outside the connection's lock.

// noDynamicTable is the update of the dynamic table's size to 0 (RFC 7541,
// section 6.3). A connection's first header block begins with it, so that the client's
// later settings for the table have no effect.
const noDynamicTable = 0x20

// staticNames are the entries of the static table that responses use (RFC 7541,
// appendix A).
var staticNames = map[string]uint64{
	"cache-control":    24,
	"content-encoding": 26,
	"content-length":   28,
	"content-type":     31,
	"date":             33,
	"etag":             34,
	"last-modified":    44,
	"location":         46,
	"vary":             59,
	"www-authenticate": 61,
	"allow":            22,
	"content-language": 27,
	"server":           54,
	"set-cookie":       55,
	"accept-ranges":    18,
	"retry-after":      53,
	"expires":          36,
	"content-range":    30,
	"content-location": 29,
}

// appendInteger appends v with a prefix of bits bits, behind the bits of first
// (RFC 7541, section 5.1).
func appendInteger(b []byte, first byte, bits int, v uint64) []byte {
	limit := uint64(1)<<bits - 1
	if v < limit {
		return append(b, first|byte(v))
	}
	b = append(b, first|byte(limit))
	for v -= limit; v >= 0x80; v >>= 7 {
		b = append(b, byte(v)|0x80)
	}
	return append(b, byte(v))
}

// appendString appends a string literal (RFC 7541, section 5.2).
func appendString(b []byte, s string) []byte {
	return append(appendInteger(b, 0, 7, uint64(len(s))), s...)
}

// appendStatus appends the pseudo-header field :status.
func appendStatus(b []byte, status int) []byte {
	switch status {
	case http.StatusOK:
		return append(b, 0x80|8) // an indexed field (RFC 7541, section 6.1)
	case http.StatusNotFound:
		return append(b, 0x80|13)
	default:
		return appendString(append(b, 8), strconv.Itoa(status)) // :status is the name of entry 8
	}
}

// appendField appends a field as a literal without indexing (RFC 7541, section
// 6.2.2). The name is in lower case.
func appendField(b []byte, name, value string) []byte {
	if i, ok := staticNames[name]; ok {
		b = appendInteger(b, 0, 4, i)
	} else {
		b = appendString(append(b, 0), name)
	}
	return appendString(b, value)
}

// appendFields appends the values of a header, except those that HTTP/2 forbids (section
// 8.2.2) and those that are not valid.
func appendFields(b []byte, key string, values []string) []byte {
	name, ok := lowerNames[key]
	if !ok {
		name = strings.ToLower(key)
		if !httpguts.ValidHeaderFieldName(name) {
			return b
		}
	}
	switch name {
	case "connection", "proxy-connection", "transfer-encoding", "upgrade", "keep-alive":
		return b
	}
	for _, value := range values {
		if httpguts.ValidHeaderFieldValue(value) {
			b = appendField(b, name, value)
		}
	}
	return b
}

// appendDate appends the header field Date (RFC 9110, section 6.6.1).
func appendDate(b []byte) []byte {
	now := time.Now()
	d := lastDate.Load()
	if d == nil || d.second != now.Unix() {
		d = &date{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return appendField(b, "date", d.text)
}

// date is a second as text.
type date struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[date]

// commonNames are the names of header fields that chat clients send or get, as
// they are on the wire.
var commonNames = []string{
	"accept", "accept-encoding", "accept-language", "access-control-allow-origin", "access-control-expose-headers",
	"authorization", "cache-control", "chat-duplicate", "chat-epoch", "chat-offset", "connect-accept-encoding",
	"connect-content-encoding", "connect-protocol-version", "connect-timeout-ms", "content-encoding", "content-length",
	"content-type", "cookie", "date", "etag", "grpc-accept-encoding", "grpc-encoding", "grpc-message", "grpc-status",
	"grpc-status-details-bin", "grpc-timeout", "idempotency-key", "if-none-match", "last-modified", "origin", "pragma",
	"priority", "referer", "sec-ch-ua", "sec-ch-ua-mobile", "sec-ch-ua-platform", "sec-fetch-dest", "sec-fetch-mode",
	"sec-fetch-site", "service-name", "te", "user-agent", "user-name", "user-password", "vary", "www-authenticate",
	"x-forwarded-for", "x-forwarded-proto", "x-grpc-web", "x-user-agent",
}

// canonicalNames are the common names as [http.Header] has them, and lowerNames
// is the reverse: to make the one from the other costs an allocation.
var canonicalNames, lowerNames = nameTables(commonNames)

func nameTables(names []string) (canonical, lower map[string]string) {
	canonical, lower = make(map[string]string, len(names)), make(map[string]string, len(names))
	for _, name := range names {
		key := http.CanonicalHeaderKey(name)
		canonical[name], lower[key] = key, name
	}
	return canonical, lower
}
