package chatsvc

import (
	"net/http"
	"strconv"
	"strings"
)

// Headers for values for which the scheme has no field.
const (
	// HeaderOffset is the offset of a record. On a request for messageList it says
	// where to begin: a number N (from record N on), -N (the last N
	// records) or "end" (only new records). On its response it is the offset of the
	// first record on the stream; the offset of each further record is one higher. On a
	// response to sendMessage it is the offset of the message.
	HeaderOffset = "Chat-Offset"
	// HeaderEpoch is the epoch of the log. On a request for messageList it is the epoch
	// of a HeaderOffset of the form N: if the log has another epoch, the number is
	// ignored, and the stream begins with the first retained record. A response without
	// an error has the current epoch.
	HeaderEpoch = "Chat-Epoch"
	// HeaderUntil on a request for messageList ends the stream. A number N ends it
	// before record N, which may still be in the future. "end" ends it after the record
	// that is the last one at the time of the call. The
	// response has the number; a server that does not send it does not know this header.
	// If the log has another epoch than HeaderEpoch, or after a reset, the stream ends at
	// once.
	HeaderUntil = "Chat-Until"
	// HeaderReset is "true" on a response to messageList if the requested offset is
	// beyond the end of the requested epoch, because the log went back.
	// The stream begins with the first retained record, as in another epoch.
	HeaderReset = "Chat-Reset"
	// HeaderHeartbeat on a response to messageList is the silence in seconds after
	// which the server sends an empty batch, such as 25 or 0.5; 0 means that it
	// sends none. If the header is missing, a client assumes [DefaultHeartbeat].
	HeaderHeartbeat = "Chat-Heartbeat"
	// HeaderDuplicate is "true" on a response to sendMessage if the
	// idempotency key was known, so nothing was stored.
	HeaderDuplicate = "Chat-Duplicate"
	// HeaderIdempotencyKey on a request for sendMessage makes it safe to
	// repeat: within the log's window, messages of one user with the same key
	// are stored once. It has 1 to 128 bytes without control characters.
	HeaderIdempotencyKey = "Idempotency-Key"
	// HeaderOrdered is "true" on a request for sendMessage with a message on each line
	// of its body if the order matters more than the rest: the first line that was not
	// stored, for a reason that passes, is the last one that is answered. The client sends
	// it and those behind it, which were not stored, again. A line that is refused for good
	// ends nothing.
	HeaderOrdered = "Chat-Ordered"
)

// maxHeaderValue is the longest epoch or idempotency key in bytes.
const maxHeaderValue = 128

// position is the part of the log that a subscriber asks for.
type position struct {
	kind  positionKind
	n     uint64 // number for fromOffset and fromLast
	epoch string // epoch of n and until; empty: the current one
	until until
}

type positionKind int

const (
	fromStart positionKind = iota
	fromOffset
	fromLast
	fromEnd
)

// until is the end of a stream. The zero value is no end.
type until struct {
	set    bool
	atEnd  bool   // the end of the log at the time of the call
	offset uint64 // otherwise, the offset before which the stream ends
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

// resolve returns the offset at which a stream begins in a log that retains [first, next).
// Replay is the begin of the replay. The result is at most next.
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

// parseIdempotencyKey returns the key for the log, made of the user's name and
// [HeaderIdempotencyKey], or the empty string.
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
		return "", invalid("%s occurs %d times: send it once", name, len(values))
	}
}
