package jetlog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// noStreamTime is how long the NATS servers may say that a stream does not exist: it may
// have just been made.
const noStreamTime = 2 * time.Second

// ErrNoStream is returned by [Inspect] if the NATS servers have no stream of that name.
var ErrNoStream = errors.New("the nats servers have no such stream")

// Inspect opens the log in a stream of a NATS cluster without changing it: it creates no
// stream, changes no setting, and does not check whether the epoch can be trusted. It waits
// for the cluster until ctx is done, and fails with [ErrNoStream] if the servers still say
// after two seconds that the stream does not exist. The log is for reading, and reports all
// records of the stream. The caller must call [Log.Close] at the end.
func Inspect(ctx context.Context, c Cluster, opts Options) (*Log, error) {
	urls, redacted, err := c.parse()
	if err != nil {
		return nil, err
	}
	c.URLs = urls
	opts.Retention = chatsvc.Retention{}
	l := newLog(c, opts)
	err = l.retry(ctx, redacted, func(context.Context) error { return l.connect() })
	var info *jetstream.StreamInfo
	if err == nil {
		deadline := time.Now().Add(noStreamTime)
		err = l.retry(ctx, redacted, func(ctx context.Context) (err error) {
			info, err = l.leader(ctx)
			if errors.Is(err, jetstream.ErrStreamNotFound) && time.Now().After(deadline) {
				return fmt.Errorf("stream %s was not found: %w", l.stream, ErrNoStream)
			}
			return err
		})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", redacted, err), l.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.adopt(info)
	return l, nil
}
