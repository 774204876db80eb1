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

// recordRoom is what a record has beyond the content of its message, with its
// headers.
const recordRoom = 4 << 10

// Cluster says where a NATS cluster is, and which stream of it is the log.
type Cluster struct {
	// URLs are those of the cluster's servers, at least one. The log connects to
	// each one, and to those that they tell of, to notice when they restart.
	URLs []string
	// Stream is the stream's name, and the subject of its messages.
	Stream string
	// Replicas is the number of NATS servers that keep each record: 1, 3 or 5.
	Replicas int
	// MaxContent is the largest content of a message in bytes. Connect fails
	// if the NATS servers would not take it.
	MaxContent int
	// SyncAlways says that all NATS servers run with sync_interval: always, so
	// that no restart of them loses an acknowledged record. Without it, a restart
	// of most replicas at the same time begins a new epoch, and so does each
	// restart of the only one.
	SyncAlways bool
	// Credentials is the path of a credentials file; empty: none.
	Credentials string
	// TLS are the settings for TLS, which the servers or the URLs ask for. Nil:
	// the system's certificates.
	TLS *tls.Config
}

// Connect opens the log that is a stream of a NATS cluster, and makes the stream
// if it is missing. Any number of processes may share it. While the cluster cannot
// be reached or has no leader it waits, until ctx is done, and logs the reason each
// time that it changes. It fails at once if a setting is wrong. Limits of the stream that differ
// from the needed ones are changed; other differences are an error that names them.
// The caller calls [Log.Close] in the end.
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

// join connects, opens the stream and starts to watch it.
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
	l.servers.meet()
	l.servers.dialing.Wait() // at most requestTime: so the stream's metadata has all identities from the start
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
	l.tasks.Go(l.watch)
	return nil
}

// openStream returns the stream, which it makes if it is missing, with the settings
// that it needs and a witness of its epoch.
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
	if errors.Is(err, errReplaced) {
		return l.leader(ctx)
	}
	return info, err
}

// retry calls try until it succeeds, fails in a way that does not pass, or ctx
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
