package jetlog

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// requestTime bounds a request to JetStream while the log is in use.
	requestTime = time.Second
	// startTime bounds one try to connect, or to open the stream.
	startTime = 5 * time.Second
	// reconnectWait is the time between two tries to connect to NATS.
	reconnectWait = 200 * time.Millisecond
	// monitorPause is the time between two checks of the stream.
	monitorPause = time.Second
	// pingInterval is the time between two pings of the NATS server. Two unanswered
	// pings end the connection. Without pings, a server that hangs would be noticed only
	// when requests time out.
	pingInterval = time.Second
	// moveAfter is the number of failed checks after which another NATS server
	// is tried.
	moveAfter = 2
)

// connect connects to a NATS server of the cluster.
func (l *Log) connect() error {
	options := append(l.options(),
		nats.IgnoreAuthErrorAbort(),      // it may be temporary: an account that is not known yet, credentials that are being renewed
		nats.ReconnectBufSize(-1),        // a message whose sender was told "unavailable" must not be sent later
		nats.FlusherTimeout(requestTime), // bounds a write to a server that hangs
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ReconnectHandler(func(conn *nats.Conn) {
			l.logger.Info("connected to nats again", "server", serverOf(conn))
			l.checkSoon()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.reported(err) }),
	)
	var err error
	if l.conn, err = nats.Connect(strings.Join(l.cluster.URLs, ","), options...); err != nil {
		return err
	}
	if l.js, err = jetstream.New(l.conn, jetstream.WithDefaultTimeout(requestTime)); err != nil {
		return err
	}
	p, err := newPublisher(l.conn, l.stream)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.publisher = p
	return err
}

// options returns the options of every connection to NATS.
func (l *Log) options() []nats.Option {
	options := []nats.Option{
		nats.Name("simplechat"),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(reconnectWait, reconnectWait),
		nats.Timeout(requestTime),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(2),
	}
	if l.cluster.Credentials != "" {
		options = append(options, nats.UserCredentials(l.cluster.Credentials))
	}
	if l.cluster.TLS != nil {
		options = append(options, nats.Secure(l.cluster.TLS))
	}
	return options
}

// serverOf returns the URL of the server of conn, without credentials.
func serverOf(conn *nats.Conn) string {
	u, err := url.Parse(conn.ConnectedUrl())
	if err != nil {
		return ""
	}
	return redact(*u)
}

// disconnected ends all appends, because their answers will not come.
func (l *Log) disconnected(err error) {
	if l.closed.Err() != nil {
		return
	}
	if err == nil {
		err = nats.ErrDisconnected
	}
	l.setDown(fmt.Errorf("nats: %w", err))
}

// reported handles an error that the connection reports outside of a call.
func (l *Log) reported(err error) {
	l.logger.Warn("nats client", "error", err)
	if errors.Is(err, nats.ErrPermissionViolation) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.denied = err
	}
}

// deniedBy returns an error that names a permission that the user lacks, if the NATS
// servers have reported one. The request itself only gets no answer.
func (l *Log) deniedBy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.denied == nil {
		return nil
	}
	return fmt.Errorf("%w: the user needs the JetStream API ($JS.API.>), the subject %s, and its inbox (_INBOX.>)", l.denied, l.stream)
}

// codeNoPeers is JetStream's error code for too few servers for the replicas.
const codeNoPeers = 10005

// isPassing reports whether an error may disappear by itself while a cluster starts.
func isPassing(err error) bool {
	apiError := new(jetstream.APIError)
	if errors.As(err, &apiError) {
		// A stream that another server has just made is not known everywhere yet.
		return apiError.Code == 503 || apiError.ErrorCode == codeNoPeers || errors.Is(err, jetstream.ErrStreamNotFound)
	}
	for _, passing := range []error{
		errNoLeader, errNewEpoch, errUnsure, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoServers,
		nats.ErrNoResponders, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// checkSoon makes monitor check the stream at once.
func (l *Log) checkSoon() {
	select {
	case l.wake <- struct{}{}:
	default: // monitor was woken already
	}
}

// monitor checks the stream at regular intervals: whether it can be reached, and
// whether it is still the same stream.
func (l *Log) monitor() {
	for failures := 0; ; {
		select {
		case <-time.After(monitorPause):
		case <-l.wake:
		case <-l.closed.Done():
			return
		}
		l.mu.Lock()
		l.keys.forget(time.Now())
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(l.closed, 2*requestTime)
		err := l.check(ctx)
		cancel()
		switch {
		case l.closed.Err() != nil:
			return
		case err == nil:
			failures = 0
			l.setUp()
			continue
		}
		l.setDown(err)
		failures++
		if l.conn.IsConnected() && (failures%moveAfter == 0 || !l.serverAnswers()) {
			// This NATS server hangs, or is cut off from the others, which may work.
			l.logger.Warn("trying another nats server", "instead_of", serverOf(l.conn), "error", err)
			_ = l.conn.ForceReconnect() // it fails only without a connection
		}
	}
}

// serverAnswers reports whether the connected NATS server answers a ping soon.
func (l *Log) serverAnswers() bool { return l.conn.FlushTimeout(requestTime/2) == nil }

// check compares the stream with its last known state. If its epoch is another one, the
// Follows end.
func (l *Log) check(ctx context.Context) error {
	info, err := l.leader(ctx)
	if err != nil {
		return err
	}
	if err := l.checkSubjects(info); err != nil {
		return err
	}
	err = l.checkServers(ctx, info)
	if errors.Is(err, errNewEpoch) {
		info, err = l.leader(ctx)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(info.Config)
	l.noteEpochLocked(info)
	l.firstRetained(info)
	return nil
}

// pause waits, unless ctx is done or the log is closed.
func (l *Log) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.closed.Done():
		return ErrClosed
	}
}
