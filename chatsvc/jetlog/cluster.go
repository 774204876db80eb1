package jetlog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// recordRoom is the largest size of a record beyond the content of its message, including
// its headers, in bytes.
const recordRoom = 4 << 10

// Cluster names a NATS cluster and the stream that is the log.
type Cluster struct {
	// URLs are the addresses of the cluster's servers, at least one. The log connects to
	// each of them, and to all servers that they announce, to notice when one restarts.
	URLs []string
	// Stream is the stream's name, and the subject of its messages.
	Stream string
	// Replicas is the number of NATS servers that keep each record: 1, 3 or 5.
	Replicas int
	// MaxContent is the largest content of a message in bytes. Connect fails
	// if the NATS servers do not accept messages of that size.
	MaxContent int
	// SyncAlways says that all NATS servers run with sync_interval: always, so
	// that no restart of them loses an acknowledged record. Without it, a restart
	// of most replicas at the same time begins a new epoch, and so does each
	// restart of the only one.
	SyncAlways bool
	// Credentials is the path of a credentials file; empty: none.
	Credentials string
	// TLS are the settings for TLS connections. Nil trusts the system's certificate
	// authorities. The servers or the URLs decide whether TLS is used.
	TLS *tls.Config
}

// Connect opens the log in a stream of a NATS cluster, and creates the stream
// if it is missing. Any number of processes may share it. While the cluster cannot
// be reached or has no leader, Connect waits until ctx is done, and logs the reason each
// time that it changes. It fails at once if a setting is wrong. It changes limits of the
// stream that differ from the settings; other differences are an error that names them.
// The caller must call [Log.Close] at the end.
func Connect(ctx context.Context, c Cluster, opts Options) (*Log, error) {
	urls, redacted, err := c.parse()
	if err != nil {
		return nil, err
	}
	c.URLs = urls
	l := newLog(c, opts)
	if err := l.join(ctx, redacted); err != nil {
		_ = l.Close() // nobody has used it
		return nil, fmt.Errorf("%s: %w", redacted, err)
	}
	return l, nil
}

// parse returns the URLs, and their text without credentials. An error does not
// contain a URL, because it may hold credentials.
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

// redact returns a URL without its password or its token. A token is a user without a
// password.
func redact(u url.URL) string {
	if _, ok := u.User.Password(); u.User != nil && !ok {
		u.User = url.User("xxxxx")
	}
	return u.Redacted()
}

// join connects, opens the stream and starts to monitor it.
func (l *Log) join(ctx context.Context, redacted string) error {
	if err := l.retry(ctx, redacted, func(context.Context) error { return l.connect() }); err != nil {
		return err
	}
	if most := l.conn.MaxPayload(); int64(l.cluster.MaxContent)+recordRoom > most {
		return fmt.Errorf("the nats servers take messages of %d bytes at most, and a content may have %d: set max_payload: 8MB in their configuration, or allow less content", most, l.cluster.MaxContent)
	}
	if err := l.logDurability(ctx); err != nil {
		return err
	}
	l.servers.connectAll()
	l.servers.dialing.Wait() // at most requestTime; then the stream's metadata has all identities from the start
	var info *jetstream.StreamInfo
	err := l.retry(ctx, redacted, func(ctx context.Context) (err error) {
		info, err = l.openStream(ctx)
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.adopt(info)
	l.mu.Unlock()
	l.tasks.Go(l.monitor)
	return nil
}

// openStream returns the stream with the settings that it needs. It creates the stream if
// it is missing, and checks that its epoch can be trusted.
func (l *Log) openStream(ctx context.Context) (*jetstream.StreamInfo, error) {
	info, err := l.leader(ctx)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		info, err = l.createStream(ctx)
	}
	if err != nil {
		return nil, err
	}
	if info, err = l.adapt(ctx, info); err != nil {
		return nil, err
	}
	err = l.checkServers(ctx, info)
	if errors.Is(err, errNewEpoch) {
		return l.leader(ctx)
	}
	return info, err
}

// retry calls try until it succeeds, fails with a permanent error, or ctx
// is done. It logs why it waits for the servers at the URLs.
func (l *Log) retry(ctx context.Context, urls string, try func(context.Context) error) error {
	for said := ""; ; {
		once, cancel := context.WithTimeout(ctx, startTime)
		err := try(once)
		cancel()
		if err == nil || !isPassing(err) {
			return err
		}
		if denied := l.deniedBy(); denied != nil {
			return denied
		}
		if err.Error() != said {
			said = err.Error()
			l.logger.Warn("waiting for the nats servers", "urls", urls, "error", err)
		}
		if l.pause(ctx, reconnectWait) != nil {
			return err
		}
	}
}
