package chatsvc_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chattest"
)

// busyLog stores nothing until it is released, and counts the calls.
type busyLog struct {
	chatsvc.Log

	released chan struct{}
	calls    atomic.Int32
}

func (l *busyLog) AppendBatch(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	l.calls.Add(1)
	<-l.released
	return appendEach(ctx, l, records)
}

// appendEach appends one record after the other.
func appendEach(ctx context.Context, log chatsvc.Log, records []chatsvc.NewRecord) []chatsvc.Outcome {
	outcomes := make([]chatsvc.Outcome, len(records))
	for i, r := range records {
		outcomes[i].Appended, outcomes[i].Err = log.Append(ctx, r.Record, r.Key)
	}
	return outcomes
}

// While a log is slow, the lines that arrive one by one become one batch.
func TestSlowLogGetsLargerBatches(t *testing.T) {
	t.Parallel()
	const lines = 64
	log := &busyLog{Log: chatsvc.NewMemoryLog(chatsvc.Retention{}), released: make(chan struct{})}
	parsed := make(chan struct{}, lines)
	count := connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
		return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
			parsed <- struct{}{}
			return next(ctx, r)
		}
	})
	svc := newService(t, chatsvc.WithLog(log), chatsvc.WithHandlerOptions(connect.WithInterceptors(count)))
	mux := http.NewServeMux()
	mux.Handle(svc.Handler())
	ctx := chattest.Context(t, patience)
	var release sync.Once
	defer release.Do(func() { close(log.released) })
	many := sendMany(ctx, t, newServer(t, mux, transports[0]), header())
	for n := range lines {
		many.write(jsonLine(fmt.Sprint(n), ""))
		select {
		case <-parsed:
		case <-ctx.Done():
			t.Fatalf("%d of %d lines were read while the log was busy", n, lines)
		}
	}
	release.Do(func() { close(log.released) })
	for n := range lines {
		if got, want := many.next(), fmt.Sprintf(`{"offset":"%d"}`, n+1); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
	// The first batch was taken at once; the last line may have come after the second.
	if n := log.calls.Load(); n > 3 {
		t.Errorf("%d lines were stored in %d batches", lines, n)
	}
}
