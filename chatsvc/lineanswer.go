package chatsvc

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"

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

// errorLine returns the answer to a line that was refused.
func errorLine(err error) []byte {
	wire := lineError{Code: connect.CodeOf(err), Message: err.Error()}
	var coded *connect.Error
	if errors.As(err, &coded) {
		wire.Code, wire.Message = coded.Code(), coded.Message()
	}
	line, err := json.Marshal(wire)
	if err != nil { // neither can fail to be encoded
		return []byte(`{"code":"internal"}`)
	}
	if coded == nil || coded.Meta().Get(HeaderRetryAfter) == "" {
		return line
	}
	return withRetryAfter(line, coded.Meta().Get(HeaderRetryAfter))
}

// withRetryAfter adds the seconds after which a message may be sent again to the answer
// to its line.
func withRetryAfter(line []byte, seconds string) []byte {
	return []byte(strings.TrimSuffix(string(line), "}") + `,"retryAfter":` + seconds + "}")
}
