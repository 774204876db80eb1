package chatsvc

import (
	"encoding/json"
	"errors"
	"strconv"

	"connectrpc.com/connect"
)

// appendAnswer appends the answer to a line.
func (l *lineSend) appendAnswer(b []byte) []byte {
	if l.refusal != nil {
		return append(append(b, l.refusal...), '\n')
	}
	b = strconv.AppendUint(append(b, `{"offset":"`...), l.stored.Offset, 10)
	if l.stored.Duplicate {
		return append(b, "\",\"duplicate\":true}\n"...)
	}
	return append(b, "\"}\n"...)
}

// refuse makes an error the answer to the line.
func (l *lineSend) refuse(e lineError) { l.refusal, l.passes = e.line(), e.passes() }

// newLineError returns err as the answer to a line has it.
func newLineError(err error) lineError {
	wire := lineError{Code: connect.CodeOf(err), Message: err.Error()}
	var coded *connect.Error
	if errors.As(err, &coded) {
		wire.Code, wire.Message = coded.Code(), coded.Message()
	}
	if coded != nil {
		wire.RetryAfter = retryAfter(coded.Meta().Get(HeaderRetryAfter))
	}
	return wire
}

// readLineError returns the error in the answer to the call of a line. After is its
// [HeaderRetryAfter].
func readLineError(answer []byte, after string) lineError {
	wire := lineError{RetryAfter: retryAfter(after)}
	if err := json.Unmarshal(answer, &wire); err != nil {
		wire.Code = connect.CodeInternal // it came from no handler of connect's
	}
	return wire
}

// retryAfter returns the seconds in a [HeaderRetryAfter], or 0.
func retryAfter(header string) int {
	seconds, err := strconv.Atoi(header)
	if err != nil {
		return 0
	}
	return seconds
}

// line returns the error in JSON.
func (e lineError) line() []byte {
	line, err := json.Marshal(e)
	if err != nil { // neither can fail to be encoded
		return []byte(`{"code":"internal"}`)
	}
	return line
}
