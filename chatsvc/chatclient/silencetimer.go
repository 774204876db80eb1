package chatclient

import (
	"io"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
)

// readSize is how many bytes are read at a time. Net/http fills the buffer from a chunk
// before it returns, and 4 KiB arrive in time over any network.
const readSize = 4 << 10

// silenceTimer ends a stream that has delivered no byte for too long. It counts bytes, not
// batches, because a batch with a large image may take long over a slow network. It is
// the HTTP client of one stream, and is used by one goroutine.
type silenceTimer struct {
	http  connect.HTTPClient
	timer *time.Timer
	limit time.Duration // longest silence; zero: no limit, or not started
}

// newSilenceTimer returns a timer that calls silent once, after a silence.
func newSilenceTimer(h connect.HTTPClient, silent func()) *silenceTimer {
	w := &silenceTimer{http: h, timer: time.AfterFunc(time.Hour, silent)}
	w.stop()
	return w
}

// start begins a wait of at most limit; zero is no limit.
func (w *silenceTimer) start(limit time.Duration) {
	w.stop()
	w.limit = limit
	w.heard()
}

// heard restarts the wait because bytes have arrived.
func (w *silenceTimer) heard() {
	if w.limit > 0 {
		w.timer.Reset(w.limit)
	}
}

// stop ends the wait.
func (w *silenceTimer) stop() {
	w.limit = 0
	w.timer.Stop()
}

// Do implements [connect.HTTPClient].
func (w *silenceTimer) Do(req *http.Request) (*http.Response, error) {
	res, err := w.http.Do(req)
	if err == nil {
		res.Body = &timedBody{res.Body, w}
	}
	return res, err
}

type timedBody struct {
	io.ReadCloser

	silenceTimer *silenceTimer
}

// Read implements [io.Reader].
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), readSize)])
	if n > 0 {
		b.silenceTimer.heard()
	}
	return n, err
}

const (
	// silenceSlack is added to two heartbeats for the longest silence of a stream.
	silenceSlack = 10 * time.Second
	// longestHeartbeat is the longest heartbeat that is accepted, in seconds: a day.
	longestHeartbeat = 24 * 60 * 60
)

// silenceOf returns how long a stream with the response header h may be silent; zero is no
// limit.
func (c *config) silenceOf(h http.Header) time.Duration {
	if c.hasSilence {
		return c.silence
	}
	beat, err := strconv.ParseFloat(h.Get(chatsvc.HeaderHeartbeat), 64)
	switch {
	case err != nil || !(beat >= 0 && beat <= longestHeartbeat): // comparisons with NaN are false
		return c.silence
	case beat == 0:
		return 0
	default:
		return 2*time.Duration(beat*float64(time.Second)) + silenceSlack
	}
}
