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

// ErrUnauthenticated is wrapped by the errors that an [Authenticator] returns for
// credentials that are missing, malformed or wrong. The caller receives the text of the
// wrapping error.
var ErrUnauthenticated = errors.New("unauthenticated")

var (
	// errFellBehind ends the stream of a subscriber whose next record is no longer retained.
	errFellBehind = errors.New("the next message is no longer retained: call messageList again to resume with the oldest retained message")
	// errBehind refuses a subscriber while the log does not deliver records that it has
	// stored.
	errBehind = errors.New("the log is behind: call messageList again")
	// errShutdown ends all streams on Close, and refuses calls after it.
	errShutdown = errors.New("the server is shutting down: call again")
	// errNewEpoch ends all streams when the log has another epoch.
	errNewEpoch = errors.New("the history was replaced by another one: call messageList again to start with the new one")
	// errNewEpochWhileSending refuses a send during which the log got another epoch.
	errNewEpochWhileSending = errors.New("the history was replaced by another one during this call: send the message again")
	// errRevoked ends the streams of credentials that are no longer valid.
	errRevoked = errors.New("the user was removed or its password changed: log in again")
	// errGone means that a stream can no longer be written to.
	errGone = errors.New("the subscriber is gone")
	// errGap means that the log has left out offsets.
	errGap = errors.New("the log has a gap")
	// errSlow means that a stream was cut because its subscriber did not read a batch
	// within the write deadline. It appears only in the server's log.
	errSlow = errors.New("the subscriber did not read within the write deadline")
)

// errHeld means that a stream was cut because unread batches hold too much memory, and
// those of its user hold the most.
var errHeld = errors.New("the batches that this user's subscribers have not read hold too much memory: read faster, and call messageList again to resume")

// invalid returns an invalid_argument error with a text for the caller.
func invalid(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, args...))
}

// HeaderRetryAfter is in the metadata of an error that a limit has caused: the number of
// seconds after which the call may be repeated.
const HeaderRetryAfter = "Retry-After"

// NewLimitError returns a resource_exhausted error that asks the caller to repeat the call
// after a time. [HeaderRetryAfter] has the time in seconds, rounded up, and the detail
// google.rpc.RetryInfo, which gRPC clients know, has the exact time.
func NewLimitError(after time.Duration, err error) *connect.Error {
	limited := connect.NewError(connect.CodeResourceExhausted, err)
	seconds := max(1, int((after+time.Second-1)/time.Second))
	limited.Meta().Set(HeaderRetryAfter, strconv.Itoa(seconds))
	detail, err := connect.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(max(after, 0))})
	if err == nil { // no duration makes it fail
		limited.AddDetail(detail)
	}
	return limited
}

// limited is [NewLimitError] for a text.
func limited(after time.Duration, text string) *connect.Error {
	return NewLimitError(after, errors.New(text))
}

// tooLarge returns a resource_exhausted error with a text for the caller. It has no
// HeaderRetryAfter, because another attempt would fail too.
func tooLarge(format string, args ...any) *connect.Error {
	return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf(format, args...))
}

// wireError returns err with the code that callers see. Errors with a code keep it.
// Callers do not see the text of unknown errors.
func wireError(err error) error {
	var coded *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &coded):
		return err
	case errors.Is(err, errCold): // the log's own error goes only to the server's log
		return connect.NewError(connect.CodeUnavailable, errCold)
	case errors.Is(err, errFellBehind), errors.Is(err, errBehind), errors.Is(err, errShutdown), errors.Is(err, errNewEpoch):
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
