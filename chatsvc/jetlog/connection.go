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
	// watchPause is the time between two checks of the stream.
	watchPause = time.Second
	// pingInterval is the time between two pings of the NATS server. Two that it
	// has not answered end the connection: without them a server that hangs is
	// noticed only by the time limits of requests.
	pingInterval = time.Second
	// moveAfter is the number of checks in vain after which another NATS server
	// is tried.
	moveAfter = 2
)

// connect connects to a NATS server of the cluster.
func (l *Log) connect() error {
	options := append(l.options(),
		nats.IgnoreAuthErrorAbort(),      // it may pass: an account that is not known yet, credentials that are renewed
		nats.ReconnectBufSize(-1),        // a send that was answered unavailable must not be sent later
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

// options returns those of every connection to NATS.
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

// serverOf returns the URL of the server that conn is connected to, to be shown.
func serverOf(conn *nats.Conn) string {
	u, err := url.Parse(conn.ConnectedUrl())
	if err != nil {
		return ""
	}
	return redact(*u)
}

// disconnected ends the wait of all appends: their answers will not come.
func (l *Log) disconnected(err error) {
	if l.closed.Err() != nil {
		return
	}
	if err == nil {
		err = nats.ErrDisconnected
	}
	l.setDown(fmt.Errorf("nats: %w", err))
}

// reported takes an error that the connection reports beside all calls.
func (l *Log) reported(err error) {
	l.logger.Warn("nats client", "error", err)
	if errors.Is(err, nats.ErrPermissionViolation) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.denied = err
	}
}

// deniedBy returns what the NATS servers do not allow this user, if there was
// something: the request itself just gets no answer.
func (l *Log) deniedBy() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.denied == nil {
		return nil
	}
	return fmt.Errorf("%w: the user needs the JetStream API ($JS.API.>), the subject %s, and its inbox (_INBOX.>)", l.denied, l.stream)
}

// codeNoPeers is JetStream's error if there are too few servers for the replicas.
const codeNoPeers = 10005

// isPassing reports whether an error may pass by itself while a cluster starts.
func isPassing(err error) bool {
	apiError := new(jetstream.APIError)
	if errors.As(err, &apiError) {
		// A stream that another server has just made is not known everywhere yet.
		return apiError.Code == 503 || apiError.ErrorCode == codeNoPeers || errors.Is(err, jetstream.ErrStreamNotFound)
	}
	for _, passing := range []error{
		errNoLeader, errReplaced, errUnsure, context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoServers,
		nats.ErrNoResponders, nats.ErrReconnectBufExceeded, nats.ErrDisconnected, jetstream.ErrNoStreamResponse,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// checkSoon makes watch check the stream at once.
func (l *Log) checkSoon() {
	select {
	case l.wake <- struct{}{}:
	default: // it will already
	}
}

// watch checks the stream from time to time: whether it can be reached, and
// whether it still is the one that it was.
func (l *Log) watch() {
	for failures := 0; ; {
		select {
		case <-time.After(watchPause):
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

// serverAnswers reports whether the NATS server that the log is connected to
// answers a ping soon.
func (l *Log) serverAnswers() bool { return l.conn.FlushTimeout(requestTime/2) == nil }

// check compares the stream with what is known of it. It ends those that follow
// another epoch.
func (l *Log) check(ctx context.Context) error {
	info, err := l.leader(ctx)
	if err != nil {
		return err
	}
	if err := l.checkSubjects(info); err != nil {
		return err
	}
	err = l.checkServers(ctx, info)
	if errors.Is(err, errReplaced) {
		info, err = l.leader(ctx)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.compare(info.Config)
	l.compareEpoch(info)
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
