package chatsvc

import (
	"net/http"
	"strconv"
	"strings"
)

// Headers that carry what the scheme has no field for.
const (
	// HeaderOffset is the offset of a record. On a request for messageList:
	// where to begin, as a number N (from record N on), -N (the last N
	// records) or "end" (only new records). On its response: the offset of the
	// first record that the stream will carry; each further one is the next
	// number. On a response to sendMessage: the offset of the message.
	HeaderOffset = "Chat-Offset"
	// HeaderEpoch names the log's incarnation. On a request for messageList it
	// belongs to a HeaderOffset of the form N: if it is not the log's own, the
	// number means nothing, and the stream begins with the first retained
	// record. A response without an error carries the log's own.
	HeaderEpoch = "Chat-Epoch"
	// HeaderUntil on a request for messageList ends the stream: as a number N
	// before record N, with an offset above the last record when that is
	// stored; as "end" before the next record at the time of the call. The
	// response carries the number, so a client that does not find it there talks to
	// a server that knows no such header. In another epoch than that of
	// HeaderEpoch, or after a reset, the stream ends at once.
	HeaderUntil = "Chat-Until"
	// HeaderReset is "true" on a response to messageList if the offset N of the epoch
	// that was asked for is beyond the end of the log, which went back.
	// The stream begins with the first retained record, as in another epoch.
	HeaderReset = "Chat-Reset"
	// HeaderHeartbeat on a response to messageList is the silence in seconds after
	// which the server sends an empty batch, such as 25 or 0.5; 0 says that it
	// sends none. A client that finds no number there assumes [DefaultHeartbeat].
	HeaderHeartbeat = "Chat-Heartbeat"
	// HeaderDuplicate is "true" on a response to sendMessage if the
	// idempotency key was known, and nothing was stored.
	HeaderDuplicate = "Chat-Duplicate"
	// HeaderIdempotencyKey on a request for sendMessage makes it safe to
	// repeat: within the log's window, messages of one user with the same key
	// are stored once. It has 1 to 128 bytes without control characters.
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderOrdered is "true" on a request for sendMessage with a message on each line
	// of its body if the order matters more than the rest: the first line that was not
	// stored, for a reason that passes, is the last one that is answered. The client sends
	// it and those behind it again. A line that is refused for good ends nothing.
	HeaderOrdered = "Chat-Ordered"
)

// maxHeaderValue is the longest epoch or idempotency key in bytes.
const maxHeaderValue = 128

// position is what a subscriber asks for.
type position struct {
	kind  positionKind
	n     uint64 // of fromOffset and fromLast
	epoch string // that n and until belong to; empty: the current one
	until until
}

type positionKind int

const (
	fromStart positionKind = iota
	fromOffset
	fromLast
	fromEnd
)

// until is where a stream ends. The zero value is that it does not.
type until struct {
	set    bool
	atEnd  bool   // before the next record at the time of the call
	offset uint64 // before this one
}

// parsePosition reads [HeaderOffset], [HeaderEpoch] and [HeaderUntil].
func parsePosition(h http.Header) (position, error) {
	var p position
	epoch, err := single(h, HeaderEpoch)
	if err != nil {
		return position{}, err
	}
	if len(epoch) > maxHeaderValue || !visibleASCII(epoch) {
		return position{}, invalid("%s must be the value that the server sent: at most %d visible ASCII characters", HeaderEpoch, maxHeaderValue)
	}
	p.epoch = epoch
	if p.until, err = parseUntil(h); err != nil {
		return position{}, err
	}
	offset, err := single(h, HeaderOffset)
	if err != nil {
		return position{}, err
	}
	digits := strings.TrimPrefix(offset, "-")
	switch {
	case offset == "":
		return p, nil
	case offset == "end":
		p.kind = fromEnd
		return p, nil
	case digits != offset:
		p.kind = fromLast
	default:
		p.kind = fromOffset
	}
	p.n, err = strconv.ParseUint(digits, 10, 64)
	if err != nil || p.kind == fromLast && p.n == 0 {
		return position{}, invalid("%s must be N (from record N on), -N (the last N records, at least 1) or end (only new ones)", HeaderOffset)
	}
	return p, nil
}

// resolve returns the offset to begin at in a log that retains [first, next), of
// which a replay begins at replay. It is never higher than next.
func (p position) resolve(first, replay, next uint64) uint64 {
	switch p.kind {
	case fromStart:
		return min(max(replay, first), next)
	case fromEnd:
		return next
	case fromLast:
		return next - min(p.n, next-first)
	default:
		return min(max(p.n, first), next)
	}
}

func parseUntil(h http.Header) (until, error) {
	text, err := single(h, HeaderUntil)
	switch {
	case err != nil || text == "":
		return until{}, err
	case text == "end":
		return until{set: true, atEnd: true}, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return until{}, invalid("%s must be N (end before record N) or end (before the next record)", HeaderUntil)
	}
	return until{set: true, offset: n}, nil
}

// parseIdempotencyKey returns the key of [HeaderIdempotencyKey] as the log
// keeps it, each user's apart, or the empty string.
func parseIdempotencyKey(h http.Header, user User) (string, error) {
	key, err := single(h, HeaderIdempotencyKey)
	if err != nil || key == "" {
		return "", err
	}
	if len(key) > maxHeaderValue || strings.ContainsFunc(key, isControl) {
		return "", invalid("%s must have 1 to %d bytes without control characters", HeaderIdempotencyKey, maxHeaderValue)
	}
	return strconv.Itoa(len(user.Name)) + ":" + user.Name + key, nil
}

// single returns the only value of a header, or the empty string.
func single(h http.Header, name string) (string, error) {
	values := h.Values(name)
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		if values[0] == "" {
			return "", invalid("%s is empty: leave it out, or give it a value", name)
		}
		return values[0], nil
	default:
		return "", invalid("%s is there %d times: send it once", name, len(values))
	}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func visibleASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
