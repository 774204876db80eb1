package chatsvc_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
)

// failingLog is a log that does not store a record whose content is "fails". It takes no
// batches.
type failingLog struct {
	chatsvc.Log

	err error // of that record
}

func (l *failingLog) Append(ctx context.Context, record []byte, key string) (chatsvc.Appended, error) {
	if strings.Contains(string(record), "fails") {
		return chatsvc.Appended{}, l.err
	}
	return l.Log.Append(ctx, record, key)
}

// failingBatchLog takes batches, and stores what comes after a record that was not stored, as
// a log that sends all records before the first answer.
type failingBatchLog struct{ failingLog }

func (l *failingBatchLog) AppendBatch(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	return appendEach(ctx, l, records)
}

// If the order matters, no line is stored after one that the log did not store but may
// store later, in logs with batches and without. A line that is refused finally does not
// end the request.
func TestManyMessagesInOrderInAnyLog(t *testing.T) {
	t.Parallel()
	passing := connect.NewError(connect.CodeUnavailable, errors.New("no leader"))
	final := connect.NewError(connect.CodeInvalidArgument, errors.New("no record"))
	for _, test := range []struct {
		name   string
		err    error
		want   string // a part of the answer to the line
		isLast bool   // it is the last answer
		stored uint64
	}{
		{"passing", passing, `"code":"unavailable"`, true, 2},
		{"unknown", errors.New("some failure"), `"code":"unavailable"`, true, 2},
		{"final", final, `"code":"invalid_argument"`, false, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			one := failingLog{chatsvc.NewMemoryLog(chatsvc.Retention{}), test.err}
			batches := failingBatchLog{failingLog{chatsvc.NewMemoryLog(chatsvc.Retention{}), test.err}}
			for _, log := range []chatsvc.Log{&one, &batches} {
				svc := newService(t, chatsvc.WithLog(log))
				mux := http.NewServeMux()
				mux.Handle(svc.Handler())
				h := header()
				h.Set("Chat-Ordered", "true")
				many := sendMany(chattest.Context(t, patience), t, newServer(t, mux, transports[1]), h)
				many.write(jsonLine("one", "") + jsonLine("two", "") + jsonLine("fails", "") + jsonLine("three", "") + jsonLine("four", ""))
				want := []string{`{"offset":"1"}`, `{"offset":"2"}`, test.want}
				if !test.isLast {
					want = append(want, `{"offset":"3"}`, `{"offset":"4"}`)
				}
				for _, want := range want {
					if got := many.next(); !strings.Contains(got, want) {
						t.Errorf("%T: %q, %q was due", log, got, want)
					}
				}
				if err := many.body.Close(); err != nil {
					t.Error(err)
				}
				if rest, err := io.ReadAll(many.lines); len(rest) > 0 || err != nil {
					t.Errorf("%T: %q, %v after the last answer", log, rest, err)
				}
				if state, err := log.State(chattest.Context(t, patience)); err != nil || state.Next != test.stored+1 {
					t.Errorf("%T: the log has %d records (%v), %d were due", log, state.Next-1, err, test.stored)
				}
			}
		})
	}
}
