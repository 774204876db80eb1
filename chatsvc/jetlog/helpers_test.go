package jetlog_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"
)

// testLog is a log that is shown when the test has failed.
type testLog struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was logged.
func (l *testLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func newTestLog(tb testing.TB) *testLog {
	tb.Helper()
	l := &testLog{}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("the log's log:\n%s", l)
		}
	})
	return l
}

// logger returns a logger whose lines are shown when the test has failed.
func logger(tb testing.TB) *slog.Logger {
	tb.Helper()
	return slog.New(slog.NewTextHandler(newTestLog(tb), nil))
}
