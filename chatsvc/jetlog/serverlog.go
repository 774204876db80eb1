package jetlog

import (
	"fmt"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
)

// serverLog is where the NATS server logs. What it takes for a notice is
// detail here.
type serverLog struct{ logger *slog.Logger }

var _ server.Logger = serverLog{}

// Noticef implements [server.Logger].
func (l serverLog) Noticef(format string, v ...any) { l.debug(format, v) }

// Warnf implements [server.Logger].
func (l serverLog) Warnf(format string, v ...any) {
	l.logger.Warn("nats server", "text", fmt.Sprintf(format, v...))
}

// Fatalf implements [server.Logger]. The server goes on to report what failed.
func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }

// Errorf implements [server.Logger].
func (l serverLog) Errorf(format string, v ...any) {
	l.logger.Error("nats server", "text", fmt.Sprintf(format, v...))
}

// Debugf implements [server.Logger].
func (l serverLog) Debugf(format string, v ...any) { l.debug(format, v) }

// Tracef implements [server.Logger].
func (l serverLog) Tracef(format string, v ...any) { l.debug(format, v) }

func (l serverLog) debug(format string, v []any) {
	l.logger.Debug("nats server", "text", fmt.Sprintf(format, v...))
}
