package chatclient

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// readSize is how many bytes are read at a time: net/http fills what it is given
// from a chunk before it returns, and 4 KiB come in time over any network.
const readSize = 4 << 10

// watch ends a stream from which no byte comes for too long. It looks at bytes,
// not batches: one with a large image may take long over a slow network. It is
// the HTTP client of one stream, and used by one goroutine.
type watch struct {
	http  connect.HTTPClient
	timer *time.Timer
	limit time.Duration // of silence; zero: none, or not started
}

// newWatch returns a watch that calls silent, once, after a silence.
func newWatch(h connect.HTTPClient, silent func()) *watch {
	w := &watch{http: h, timer: time.AfterFunc(time.Hour, silent)}
	w.stop()
	return w
}

// start begins to wait, for limit at most, zero for ever.
func (w *watch) start(limit time.Duration) {
	w.stop()
	w.limit = limit
	w.heard()
}

// heard notes that something came.
func (w *watch) heard() {
	if w.limit > 0 {
		w.timer.Reset(w.limit)
	}
}

// stop ends the wait.
func (w *watch) stop() {
	w.limit = 0
	w.timer.Stop()
}

// Do implements [connect.HTTPClient].
func (w *watch) Do(req *http.Request) (*http.Response, error) {
	res, err := w.http.Do(req)
	if err == nil {
		res.Body = &watchedBody{res.Body, w}
	}
	return res, err
}

type watchedBody struct {
	io.ReadCloser

	watch *watch
}

// Read implements [io.Reader].
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), readSize)])
	if n > 0 {
		b.watch.heard()
	}
	return n, err
}

const (
	// silenceSlack is how much longer than two heartbeats a stream may be silent.
	silenceSlack = 10 * time.Second
	// longestHeartbeat in seconds is the longest that is believed: a day.
	longestHeartbeat = 24 * 60 * 60
)

// silenceOf returns how long a stream with the response header h may be silent, zero
// for ever.
func (c *config) silenceOf(h http.Header) time.Duration {
	if c.hasSilence {
		return c.silence
	}
	beat, err := strconv.ParseFloat(h.Get(chatsvc.HeaderHeartbeat), 64)
	switch {
	case err != nil || !(beat >= 0 && beat <= longestHeartbeat): // not a number compares as false
		return c.silence
	case beat == 0:
		return 0
	default:
		return 2*time.Duration(beat*float64(time.Second)) + silenceSlack
	}
}
