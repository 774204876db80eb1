package chatsvc

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// HeaderLastEventID is what a browser's EventSource sends when it connects again: the
// id of the last event that it has seen.
const HeaderLastEventID = "Last-Event-ID"

// queryHeaders are the parameters of a URL that mean the same as a header.
var queryHeaders = map[string]string{"offset": HeaderOffset, "epoch": HeaderEpoch, "until": HeaderUntil}

// resumption is what the request for a stream of events says of the one before.
type resumption struct {
	isAgain bool // an EventSource connects again
	isDone  bool // it has seen all that it asked for
}

// applyQuery puts what the URL and, for a stream of events, the last event's id ask
// for into h, the headers of a copy of the request. The id takes the place of the
// URL's position: an EventSource always sends both. It fails if a parameter is not
// known or contradicts a header.
func applyQuery(h http.Header, rawQuery string, f face) (resumption, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return resumption{}, invalid("the query of the URL is malformed: send ?offset=N&epoch=EPOCH&until=N, each of them optional")
	}
	asked := make(http.Header)
	for name, values := range query {
		header, ok := queryHeaders[name]
		if !ok {
			return resumption{}, invalid("there is no parameter of this name in a URL: there are offset, epoch and until")
		}
		asked[header] = values
	}
	var again resumption
	if id := h.Get(HeaderLastEventID); f == faceEvents && id != "" {
		if again, err = applyEventID(asked, id); err != nil {
			return resumption{}, err
		}
	}
	for header, values := range asked {
		if given := h.Values(header); len(given) > 0 && !slices.Equal(given, values) {
			return resumption{}, invalid("%s and the URL ask for different things: send one of them", header)
		}
		h[header] = values
	}
	return again, nil
}

// eventEnd stands behind the position in the id of a stream's last event.
const eventEnd = " end"

// eventID returns the id of an event: the position behind it in its text form.
func eventID(epoch string, next uint64) string {
	return strconv.FormatUint(next, 10) + "@" + epoch
}

// applyEventID puts the position that id names into asked.
func applyEventID(asked http.Header, id string) (resumption, error) {
	position, isLast := strings.CutSuffix(id, eventEnd)
	offset, epoch, ok := strings.Cut(position, "@")
	if _, err := strconv.ParseUint(offset, 10, 64); err != nil || !ok || epoch == "" {
		return resumption{}, invalid("%s must be the id of an event of this stream, N@EPOCH", HeaderLastEventID)
	}
	isOther := asked.Get(HeaderEpoch) != "" && asked.Get(HeaderEpoch) != epoch
	again := resumption{isAgain: true, isDone: asked.Get(HeaderUntil) != "" && (isLast || isOther)}
	asked.Set(HeaderOffset, offset)
	asked.Set(HeaderEpoch, epoch)
	return again, nil
}
