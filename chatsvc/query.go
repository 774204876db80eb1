package chatsvc

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// HeaderLastEventID is sent by a browser's EventSource when it reconnects: the
// id of the last event that it has received.
const HeaderLastEventID = "Last-Event-ID"

// queryHeaders maps the parameters of a URL to headers with the same meaning.
var queryHeaders = map[string]string{"offset": HeaderOffset, "epoch": HeaderEpoch, "until": HeaderUntil}

// resumption tells how a request for a stream of events continues an earlier one.
type resumption struct {
	isAgain bool // an EventSource reconnects
	isDone  bool // it has received everything that it asked for
}

// applyQuery adds the parameters of the URL and, for a stream of events, the position in
// the last event's id to h, the headers of a copy of the request. The id replaces the
// position in the URL, because an EventSource always sends both. It fails if a parameter
// is not known or contradicts a header.
func applyQuery(h http.Header, rawQuery string, f face) (resumption, error) {
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return resumption{}, invalid("the query of the URL is malformed: send ?offset=N&epoch=EPOCH&until=N, each of them optional")
	}
	asked := make(http.Header)
	for name, values := range query {
		header, ok := queryHeaders[name]
		if !ok {
			return resumption{}, invalid("the URL has an unknown parameter: the parameters are offset, epoch and until")
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
			return resumption{}, invalid("%s and the URL contradict each other: send only one of them", header)
		}
		h[header] = values
	}
	return again, nil
}

// eventEnd follows the position in the id of the last event of a stream.
const eventEnd = " end"

// eventID returns the id of an event: the position after it in its text form.
func eventID(epoch string, next uint64) string {
	return strconv.FormatUint(next, 10) + "@" + epoch
}

// applyEventID adds the position in an event's id to asked.
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
