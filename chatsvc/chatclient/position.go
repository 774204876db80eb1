package chatclient

import (
	"encoding"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"example.com/simplechat/chatsvc"
)

// Position is a position in the log from which to follow. The zero value is [All]. Store
// it in its text form ([Position.String], JSON): "all", "end", "-N" for the last
// N, "N@EPOCH" for record N of an epoch. Positions can be compared with ==.
type Position struct {
	kind  positionKind
	n     uint64 // number for last and at
	epoch string // epoch for at; empty: any epoch
}

type positionKind int

const (
	all positionKind = iota
	end
	last
	at
)

var (
	_ encoding.TextMarshaler   = Position{}
	_ encoding.TextUnmarshaler = (*Position)(nil)
)

// All is the position of the first retained record.
func All() Position { return Position{} }

// End is the position after the last record. Following from it yields only new records.
func End() Position { return Position{kind: end} }

// Last is the position of the last n records, or of all if there are fewer.
func Last(n uint64) Position {
	if n == 0 {
		return End()
	}
	return Position{kind: last, n: n}
}

// At is the position of the record with an offset in an epoch. Following from it yields
// that record first. An empty epoch means the current one.
func At(epoch string, offset uint64) Position {
	return Position{kind: at, n: offset, epoch: epoch}
}

// Offset returns the epoch and the offset of the next record. Ok is false if the position
// was not made by [At].
func (p Position) Offset() (epoch string, offset uint64, ok bool) {
	return p.epoch, p.n, p.kind == at
}

// String returns the text form.
func (p Position) String() string {
	switch p.kind {
	case all:
		return "all"
	case end:
		return "end"
	case last:
		return "-" + strconv.FormatUint(p.n, 10)
	default:
		text := strconv.FormatUint(p.n, 10)
		if p.epoch != "" {
			text += "@" + p.epoch
		}
		return text
	}
}

// MarshalText implements [encoding.TextMarshaler].
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Position) UnmarshalText(text []byte) error {
	offset, epoch, hasEpoch := strings.Cut(string(text), "@")
	number, negative := strings.CutPrefix(offset, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	switch {
	case string(text) == "all":
		*p = All()
	case string(text) == "end":
		*p = End()
	case err != nil, hasEpoch && (negative || epoch == ""), negative && n == 0:
		return fmt.Errorf("position %q: it must be all, end, -N (the last N records), N or N@EPOCH (from record N on)", text)
	case negative:
		*p = Last(n)
	default:
		*p = At(epoch, n)
	}
	return nil
}

// setHeader sets the headers of a request for p.
func (p Position) setHeader(h http.Header) {
	switch p.kind {
	case all: // without an offset, the server would send only the replay
		h.Set(chatsvc.HeaderOffset, "1")
	case end:
		h.Set(chatsvc.HeaderOffset, "end")
	case last:
		h.Set(chatsvc.HeaderOffset, "-"+strconv.FormatUint(p.n, 10))
	case at:
		h.Set(chatsvc.HeaderOffset, strconv.FormatUint(p.n, 10))
		if p.epoch != "" {
			h.Set(chatsvc.HeaderEpoch, p.epoch)
		}
	}
}

// readPosition returns the position in a response's header, and whether the log went
// back.
func readPosition(h http.Header) (epoch string, offset uint64, isReset bool, err error) {
	epoch = h.Get(chatsvc.HeaderEpoch)
	text := h.Get(chatsvc.HeaderOffset)
	offset, err = strconv.ParseUint(text, 10, 64)
	if err != nil || epoch == "" {
		return "", 0, false, fmt.Errorf("%w: %s is %q and %s is %q in the response", errNoPosition,
			chatsvc.HeaderOffset, text, chatsvc.HeaderEpoch, epoch)
	}
	return epoch, offset, h.Get(chatsvc.HeaderReset) == "true", nil
}
