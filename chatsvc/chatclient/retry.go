package chatclient

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"example.com/simplechat/chatsvc"
)

// ErrUncertain is wrapped by the errors of [Client.Send] if the message may have been
// stored. After any other error, another send cannot store it twice.
var ErrUncertain = errors.New("the message may have been stored")

var (
	// errNoPosition is final: without offsets, Follow would deliver everything again after
	// each pause.
	errNoPosition = errors.New("the server does not tell offsets, or a proxy drops the headers")
	// errEnded is for a server that ends a stream without an error.
	errEnded = errors.New("the server ended the stream")
	// errSilent ends a stream that was silent for too long.
	errSilent = errors.New("the server fell silent")
)

// isFinal reports whether another attempt would fail with err as well.
func isFinal(err error) bool {
	if errors.Is(err, errNoPosition) || errors.Is(err, ErrNewEpoch) {
		return true
	}
	if _, isLimited := retryAfter(err); isLimited {
		return false
	}
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeNotFound, connect.CodeAlreadyExists,
		connect.CodePermissionDenied, connect.CodeResourceExhausted, connect.CodeFailedPrecondition,
		connect.CodeOutOfRange, connect.CodeUnimplemented, connect.CodeUnauthenticated:
		return true
	default:
		return false
	}
}

// mayBeStored reports whether a message may have been stored although the
// attempt to send it ended with err: not if there was no connection, or the
// server refused to look at it. The error alone does not tell what became of all
// requests that were written: net/http repeats one that has an idempotency key by
// itself when its connection breaks, and the error is that of the last one.
func (c *Client) mayBeStored(err error, requests int) bool {
	if requests == 0 && c.isTraced {
		return false
	}
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &dial) && dial.Op == "dial" || errors.As(err, &certificate) || errors.Is(err, http.ErrSchemeMismatch) {
		return requests > 0
	}
	if requests > 1 {
		return true
	}
	if _, isLimited := retryAfter(err); isLimited {
		return false // the message did not reach a log
	}
	// errNoPosition means that it was acknowledged. After a final code it was not stored,
	// also if the disk was full (chatsvc.Log).
	return !isFinal(err) || errors.Is(err, errNoPosition)
}

// longestRetryAfter bounds how long a server can make a client wait.
const longestRetryAfter = 5 * time.Minute

// retryAfter returns the time after which the server that refused a call because of a
// limit asks the caller to come back.
func retryAfter(err error) (time.Duration, bool) {
	var coded *connect.Error
	if !errors.As(err, &coded) || coded.Code() != connect.CodeResourceExhausted {
		return 0, false
	}
	if info := retryInfo(coded); info.GetRetryDelay().CheckValid() == nil {
		return min(max(info.GetRetryDelay().AsDuration(), 0), longestRetryAfter), true
	}
	seconds, parseErr := strconv.Atoi(coded.Meta().Get(chatsvc.HeaderRetryAfter))
	if parseErr != nil || seconds < 0 {
		return 0, false
	}
	return min(time.Duration(seconds)*time.Second, longestRetryAfter), true
}

// retryInfo returns the detail of err that says when to come back, or nil. It passes
// proxies that drop headers, and is more exact.
func retryInfo(err *connect.Error) *errdetails.RetryInfo {
	for _, detail := range err.Details() {
		if value, valueErr := detail.Value(); valueErr == nil {
			if info, ok := value.(*errdetails.RetryInfo); ok {
				return info
			}
		}
	}
	return nil
}

// backoff is the pauses between the attempts of one call.
type backoff struct {
	shortest, longest time.Duration
	next              time.Duration // the pause before the next attempt, at most
}

func (c *Client) backoff() *backoff {
	return &backoff{shortest: c.shortest, longest: c.longest, next: c.shortest}
}

// after returns the pause before the next attempt after err. Half of it is random, so
// that the clients of a server that was away do not come back in step. A server that
// asked for more time gets it.
func (b *backoff) after(err error) time.Duration {
	pause := b.next - rand.N(b.next/2+1) //nolint:gosec // nobody gains from guessing it
	if after, isLimited := retryAfter(err); isLimited {
		pause += after
	}
	b.next = min(2*b.next, b.longest)
	return pause
}

// pause announces the next attempt after r, whose pause b knows, and returns when it is due or
// ctx is done. After the end of ctx there is no next attempt, and r is not announced.
func (c *Client) pause(ctx context.Context, b *backoff, r Retry) {
	if ctx.Err() != nil {
		return
	}
	r.Pause = b.after(r.Err)
	c.onRetry(r)
	sleep(ctx, r.Pause)
}

// sleep returns after a pause, or when ctx is done.
func sleep(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// reset makes the next pause short after a success.
func (b *backoff) reset() { b.next = b.shortest }
