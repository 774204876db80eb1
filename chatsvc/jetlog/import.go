package jetlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
)

// importWindow is how many records may wait for an acknowledgement at a time.
const importWindow = 256

// Import creates a stream from the messages of another log, with the same offsets and the
// same epoch. The times at which the other log stored them are lost, because NATS sets the
// time of each record itself. It is not safe for concurrent use.
type Import struct {
	log    *Log
	next   uint64 // the offset that the next record must get
	window []jetstream.PubAckFuture
}

// NewImport creates the stream, which must not exist, so that its first record gets the
// offset first. The caller must call [Import.Finish] or [Import.Abort] at the end. No
// server should use the stream before that.
func NewImport(ctx context.Context, c Cluster, opts Options, epoch string, first uint64) (*Import, error) {
	urls, redacted, err := c.parse()
	if err != nil {
		return nil, err
	}
	c.URLs = urls
	opts.Retention = chatsvc.Retention{} // a server applies its own when it starts
	l := newLog(c, opts)
	err = l.retry(ctx, redacted, func(context.Context) error { return l.connect() })
	if err == nil {
		err = l.retry(ctx, redacted, func(ctx context.Context) error { return l.createAt(ctx, epoch, first) })
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", redacted, err), l.Close())
	}
	created := &Import{log: l, next: first}
	opened, err := Connect(ctx, c, opts)
	if err != nil {
		return nil, errors.Join(err, created.Abort(context.WithoutCancel(ctx)))
	}
	created.log = opened
	_ = l.Close() // it only created the stream
	return created, nil
}

// A stream of the same name that was just removed may still be in a NATS
// server's directory; then creating it fails (JSStreamCreateErrF in server/errors.json of
// nats-server).
const (
	createFailed   = 10049
	maxCreateTries = 5
)

// isStoreBusy reports whether err is that failure.
func isStoreBusy(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == createFailed
}

// createAt makes the stream with an epoch and a first offset.
func (l *Log) createAt(ctx context.Context, epoch string, first uint64) error {
	_, err := l.leader(ctx)
	switch {
	case err == nil:
		return fmt.Errorf("the stream %s exists already: remove it with nats stream rm, or give another name", l.stream)
	case !errors.Is(err, jetstream.ErrStreamNotFound):
		return err
	}
	config := l.config
	config.FirstSeq = first
	config.Metadata = map[string]string{epochKey: epoch}
	_, err = l.js.CreateStream(ctx, config)
	for tries := 1; isStoreBusy(err) && tries < maxCreateTries && l.pause(ctx, reconnectWait) == nil; tries++ {
		_, err = l.js.CreateStream(ctx, config)
	}
	if err != nil {
		return fmt.Errorf("create stream %s: %w", l.stream, err)
	}
	return nil
}

// Add adds a message. Offsets must increase. Each offset that is left out becomes an
// empty message.
func (i *Import) Add(ctx context.Context, e chatsvc.Entry) error {
	if _, err := record.Parse(e.Record); err != nil {
		return fmt.Errorf("offset %d: %w", e.Offset, err)
	}
	if e.Offset < i.next {
		return fmt.Errorf("offset %d: it must be at least %d", e.Offset, i.next)
	}
	if err := i.fill(ctx, e.Offset); err != nil {
		return err
	}
	return i.publish(ctx, e.Record)
}

// fill adds empty messages up to an offset.
func (i *Import) fill(ctx context.Context, next uint64) error {
	for i.next < next {
		if err := i.publish(ctx, record.Empty); err != nil {
			return err
		}
	}
	return nil
}

// publish sends a record. If the window is full, it first waits for the oldest record in
// it.
func (i *Import) publish(ctx context.Context, data []byte) error {
	if len(i.window) == importWindow {
		if err := i.await(ctx); err != nil {
			return err
		}
	}
	future, err := i.log.js.PublishMsgAsync(&nats.Msg{Subject: i.log.stream, Data: data})
	if err != nil {
		return fmt.Errorf("offset %d: %w", i.next, err)
	}
	i.window = append(i.window, future)
	i.next++
	return nil
}

// await waits until the oldest record in the window is stored.
func (i *Import) await(ctx context.Context) error {
	offset := i.next - uint64(len(i.window))
	future := i.window[0]
	i.window = i.window[1:]
	select {
	case ack := <-future.Ok():
		if ack.Sequence != offset {
			return fmt.Errorf("offset %d: the stream stored it as %d: another program writes to it", offset, ack.Sequence)
		}
		return nil
	case err := <-future.Err():
		return fmt.Errorf("offset %d: %w", offset, err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Finish returns when all messages are stored. It ends the import even if it fails. Next
// is the offset that the next message will get; offsets below it that were not added
// become empty messages.
func (i *Import) Finish(ctx context.Context, next uint64) error {
	var err error
	if next < i.next {
		err = fmt.Errorf("the next offset is %d: it must be at least %d", next, i.next)
	} else {
		err = i.fill(ctx, next)
	}
	for err == nil && len(i.window) > 0 {
		err = i.await(ctx)
	}
	if err != nil {
		return errors.Join(err, i.Abort(context.WithoutCancel(ctx)))
	}
	return i.log.Close()
}

// Abort ends the import and removes the stream.
func (i *Import) Abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	err := i.log.js.DeleteStream(ctx, i.log.stream)
	if err != nil {
		err = fmt.Errorf("the stream %s is incomplete and may still exist: remove it with nats stream rm: %w", i.log.stream, err)
	}
	return errors.Join(err, i.log.Close())
}
