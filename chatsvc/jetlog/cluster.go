package jetlog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// connectTime bounds the wait for a cluster and for its JetStream at start:
	// servers that start together need a moment to elect a leader.
	connectTime = 15 * time.Second
	// watchPause is the time between two looks at the stream.
	watchPause = time.Second
	// moveAfter is the number of looks in vain after which another NATS server
	// is tried.
	moveAfter = 5
	// recordRoom is what a record has beyond the content of its message, with
	// its headers.
	recordRoom = 4 << 10
)

// Cluster says where a NATS cluster is, and which stream of it is the log.
type Cluster struct {
	// URLs are those of the cluster's servers, at least one.
	URLs []string
	// Stream is the stream's name, and the subject of its messages.
	Stream string
	// Replicas is the number of NATS servers that keep each record: 1, 3 or 5.
	Replicas int
	// MaxContent is the largest content of a message in bytes. Connect fails
	// if the NATS servers would not take it.
	MaxContent int
	// Credentials is the path of a credentials file; empty: none.
	Credentials string
	// TLS are the settings for TLS, which the servers or the URLs ask for. Nil:
	// the system's certificates.
	TLS *tls.Config
}

// Connect opens the log that is a stream of a NATS cluster, and makes the stream
// if it is missing. Any number of processes may share it. It fails if the stream
// has other settings than it needs, and names them. The caller calls [Log.Close]
// in the end.
//
// What was acknowledged is kept by most of the replicas' servers; whether it is
// on their disks is their setting sync_interval.
func Connect(ctx context.Context, c Cluster, opts Options) (*Log, error) {
	urls, redacted, err := c.parse()
	if err != nil {
		return nil, err
	}
	c.URLs = urls
	l := newLog(c.Stream, streamConfig(c.Stream, opts.Retention, c.Replicas), opts)
	if err := l.join(ctx, c, redacted); err != nil {
		_ = l.Close() // it never came to be
		return nil, fmt.Errorf("%s: %w", redacted, err)
	}
	return l, nil
}

// parse returns the URLs, and their text without credentials. An error does not
// repeat a URL: it may hold some.
func (c Cluster) parse() (urls []string, redacted string, err error) {
	var shown []string
	for i, raw := range c.URLs {
		if !strings.Contains(raw, "://") {
			raw = "nats://" + raw
		}
		u, err := url.Parse(raw)
		if err != nil || u.Host == "" {
			return nil, "", fmt.Errorf("URL %d of the nats servers: it must be nats://HOST:PORT", i+1)
		}
		urls, shown = append(urls, raw), append(shown, redact(*u))
	}
	return urls, strings.Join(shown, ","), nil
}

// redact returns a URL without its password, or its token: that is a user without
// a password.
func redact(u url.URL) string {
	if _, ok := u.User.Password(); u.User != nil && !ok {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// serverOf returns the URL of the server that conn is connected to, to be shown.
func serverOf(conn *nats.Conn) string {
	u, err := url.Parse(conn.ConnectedUrl())
	if err != nil {
		return ""
	}
	return redact(*u)
}

func (l *Log) join(ctx context.Context, c Cluster, redacted string) error {
	options := []nats.Option{nats.ReconnectHandler(func(conn *nats.Conn) {
		l.logger.Info("connected to nats again", "server", serverOf(conn))
		select {
		case l.reconnected <- struct{}{}:
		default: // it is known already
		}
	})}
	if c.Credentials != "" {
		options = append(options, nats.UserCredentials(c.Credentials))
	}
	if c.TLS != nil {
		options = append(options, nats.Secure(c.TLS))
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	err := l.retry(ctx, redacted, func(context.Context) error {
		return l.connect(strings.Join(c.URLs, ","), clusterAppendTime, options...)
	})
	if err != nil {
		return err
	}
	if most := l.conn.MaxPayload(); int64(c.MaxContent)+recordRoom > most {
		return fmt.Errorf("the nats servers take messages of %d bytes at most, and a content may have %d: set max_payload: 8MB in their configuration, or allow less content", most, c.MaxContent)
	}
	var info *jetstream.StreamInfo
	err = l.retry(ctx, redacted, func(ctx context.Context) (err error) {
		info, err = l.openStream(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := differences(info.Config, l.config); err != nil {
		return fmt.Errorf("stream %s has other settings than this server needs: %w: start the server with the stream's, or change the stream with nats stream edit", l.stream, err)
	}
	l.mu.Lock()
	l.adopt(info)
	l.mu.Unlock()
	l.sayWorth(ctx)
	l.tasks.Go(l.watchCluster)
	return nil
}

// retry calls try until it succeeds, fails in a way that does not pass, or ctx
// is done. It logs that it waits for the servers at the URLs.
func (l *Log) retry(ctx context.Context, urls string, try func(context.Context) error) error {
	for waiting := false; ; waiting = true {
		once, cancel := context.WithTimeout(ctx, requestTime)
		err := try(once)
		cancel()
		if err == nil || !isPassing(err) {
			return err
		}
		if denied := l.deniedBy(); denied != nil {
			return denied
		}
		if !waiting {
			l.logger.Warn("wait for the nats servers", "urls", urls, "error", err)
		}
		if l.pause(ctx, reconnectWait) != nil {
			return err
		}
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

// openStream returns the stream, which it makes if it is missing.
func (l *Log) openStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.info(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return l.createStream(ctx, l.config)
	}
	return info, err
}

// isPassing reports whether an error may go by itself while a cluster starts.
func isPassing(err error) bool {
	apiError := new(jetstream.APIError)
	if errors.As(err, &apiError) {
		// A stream that another server has just made is not known everywhere yet.
		return apiError.Code == 503 || apiError.ErrorCode == codeNoPeers || errors.Is(err, jetstream.ErrStreamNotFound)
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoServers) ||
		errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrDisconnected)
}

// codeNoPeers is JetStream's error where too few servers are there for the
// replicas.
const codeNoPeers = 10005

// watchCluster looks at the stream from time to time: whether it can be reached,
// and whether it still is the one that it was.
func (l *Log) watchCluster() {
	for failures := 0; ; {
		select {
		case <-time.After(watchPause):
		case <-l.reconnected:
		case <-l.closed.Done():
			return
		}
		l.forgetKeys()
		ctx, cancel := context.WithTimeout(l.closed, requestTime)
		err := l.look(ctx)
		cancel()
		switch {
		case l.closed.Err() != nil:
			return
		case err == nil:
			failures = 0
			l.setUp()
			continue
		}
		l.setDown(err) // where the stream is gone, those who follow make it anew
		if failures++; failures%moveAfter == 0 && l.conn.IsConnected() {
			// This NATS server may be cut off from the others, which go on.
			l.logger.Warn("try another nats server", "but", serverOf(l.conn), "error", err)
			_ = l.conn.ForceReconnect() // it fails only where there is no connection
		}
	}
}

// forgetKeys lets go of the keys that are known for long enough.
func (l *Log) forgetKeys() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes.forget(time.Now())
}
