package chatsvc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/durationpb"
)

// ErrUnauthenticated is what an [Authenticator] returns for credentials that
// are missing, malformed or wrong. The caller gets the text of the error that
// wraps it.
var ErrUnauthenticated = errors.New("unauthenticated")

var (
	// errFellBehind ends the stream of a subscriber whose next record is gone.
	errFellBehind = errors.New("the subscriber fell out of the retained history: call messageList again to resume with what is left")
	// errBehind refuses a subscriber while the log does not hand out what it has
	// stored.
	errBehind = errors.New("the log is behind: call messageList again")
	// errShutdown ends all streams on Close, and refuses calls after it.
	errShutdown = errors.New("the server is shutting down: call again")
	// errReplaced ends all streams when the log has another epoch.
	errReplaced = errors.New("the history was replaced by another one: call messageList again to begin with it")
	// errMeanwhile refuses a send during which the log got another epoch.
	errMeanwhile = errors.New("the history was replaced by another one meanwhile: send the message again")
	// errRevoked ends the streams of credentials that are no longer valid.
	errRevoked = errors.New("the user was removed or its password changed: log in again")
	// errGone says that a stream cannot be written to any more.
	errGone = errors.New("the subscriber is gone")
	// errGap says that the log left offsets out.
	errGap = errors.New("the log has a gap")
	// errSlow says that a stream was cut as its subscriber did not take a batch
	// within the write deadline. It goes no further than the server's log.
	errSlow = errors.New("the subscriber did not read within the write deadline")
)

// errHeld says that a stream was cut as the batches that subscribers have not taken
// hold too much memory, and those of its user the most.
var errHeld = errors.New("the batches that this user's subscribers did not read in time hold too much memory: read faster, or call messageList again to resume")

// invalid returns an invalid_argument error with a text for the caller.
func invalid(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// HeaderRetryAfter is in the metadata of an error that a limit is the cause of: the
// seconds after which the call may be made again.
const HeaderRetryAfter = "Retry-After"

// NewLimitError returns a resource_exhausted error that asks the caller to come back
// after a time: in whole seconds, rounded up, in [HeaderRetryAfter], and exactly in the
// detail google.rpc.RetryInfo, which clients of gRPC know.
func NewLimitError(after time.Duration, err error) *connect.Error {
	limited := connect.NewError(connect.CodeResourceExhausted, err)
	seconds := max(1, int((after+time.Second-1)/time.Second))
	limited.Meta().Set(HeaderRetryAfter, strconv.Itoa(seconds))
	detail, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(after, 0))})
	if err == nil { // it fails for no duration
		limited.AddDetail(detail)
	}
	return limited
}

// limited is [NewLimitError] with a text.
func limited(after time.Duration, text string) *connect.Error {
	return NewLimitError(after, errors.New(text))
}

// tooLarge returns a resource_exhausted error with a text for the caller. Another
// attempt would fail as well: it has no HeaderRetryAfter.
func tooLarge(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf(format, args...))
}

// wireError gives err the code that callers see. Errors with a code keep it;
// of unknown ones nobody sees the text.
func wireError(err error) error {
	var coded *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return err
	case errors.Is(err, errCold): // the log's own error stays in the server's log
		return connect.NewError(connect.CodeUnavailable, errCold)
	case errors.Is(err, errFellBehind), errors.Is(err, errBehind), errors.Is(err, errShutdown), errors.Is(err, errReplaced):
		return connect.NewError(connect.CodeUnavailable, err)
	case errors.Is(err, http.ErrNotSupported):
		return connect.NewError(connect.CodeInternal, errors.New("the server cannot flush the stream: its middleware must pass flushes on, or have an Unwrap method"))
	case errors.Is(err, context.Canceled), errors.Is(err, errGone), errors.Is(err, errSlow), errors.Is(err, errHeld):
		return connect.NewError(connect.CodeCanceled, err)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, err)
	case errors.Is(err, ErrUnauthenticated), errors.Is(err, errRevoked):
		return connect.NewError(connect.CodeUnauthenticated, err)
	default:
		return connect.NewError(connect.CodeInternal, errors.New("internal error: the server's log has the cause"))
	}
}
