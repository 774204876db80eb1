package jetlog

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog is where the NATS server in this process logs. What it takes for a
// notice is detail here.
type serverLog struct {
	logger *slog.Logger
	failed func(error) // called with each error: the disk's are only found here
	fatal  chan error  // gets what ends the server, if there is room
}

var _ server.Logger = serverLog{}

// Noticef implements [server.Logger].
func (l serverLog) Noticef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Warnf implements [server.Logger].
func (l serverLog) Warnf(format string, v ...any) { l.log(slog.LevelWarn, format, v) }

// Fatalf implements [server.Logger]. The server expects the process to end here.
func (l serverLog) Fatalf(format string, v ...any) {
	l.log(slog.LevelError, format, v)
	select {
	case l.fatal <- fmt.Errorf(format, v...):
	default:
	}
}

// Errorf implements [server.Logger].
func (l serverLog) Errorf(format string, v ...any) {
	l.log(slog.LevelError, format, v)
	err := loggedError{text: fmt.Sprintf(format, v...)}
	for _, arg := range v {
		if cause, ok := arg.(error); ok {
			err.cause = cause
		}
	}
	l.failed(err)
}

// loggedError is an error that the server has logged. It is what its cause is: a
// full disk is told from others by that.
type loggedError struct {
	text  string
	cause error
}

func (e loggedError) Error() string { return e.text }

func (e loggedError) Unwrap() error { return e.cause }

// Debugf implements [server.Logger].
func (l serverLog) Debugf(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

// Tracef implements [server.Logger].
func (l serverLog) Tracef(format string, v ...any) { l.log(slog.LevelDebug, format, v) }

func (l serverLog) log(level slog.Level, format string, v []any) {
	if l.logger.Enabled(context.Background(), level) {
		l.logger.Log(context.Background(), level, "nats server", "text", fmt.Sprintf(format, v...))
	}
}
