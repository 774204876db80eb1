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

// importWindow is how many records are on their way at a time.
const importWindow = 256

// Import is a stream that comes to be from the messages of another log, with their
// offsets and its epoch. NATS notes when it stores a record: the times of the other
// log are lost. It is not safe for concurrent use.
type Import struct {
	log    *Log
	next   uint64 // the offset that the next record must get
	window []jetstream.PubAckFuture
}

// NewImport makes the stream, which must not exist, so that its first record gets the
// offset first. The caller calls [Import.Finish] or [Import.Abort] in the end. No
// server should use the stream before.
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
	if err = errors.Join(err, l.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", redacted, err)
	}
	if l, err = Connect(ctx, c, opts); err != nil {
		return nil, err
	}
	return &Import{log: l, next: first}, nil
}

// A stream of the same name that was just removed may still be in the way in a NATS
// server's directory (JSStreamCreateErrF in its server/errors.json).
const (
	createFailed   = 10049
	maxCreateTries = 5
)

// isStoreBusy reports whether err says that.
func isStoreBusy(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == createFailed
}

// createAt makes the stream with an epoch and a first offset.
func (l *Log) createAt(ctx context.Context, epoch string, first uint64) error {
	_, err := l.leader(ctx)
	switch {
	case err == nil:
		return fmt.Errorf("there is a stream %s already: remove it with nats stream rm, or give another name", l.stream)
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

// Add adds a message. Offsets must grow; what lies between two of them becomes an
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

// publish sends a record, and waits for the oldest one on its way if there are many.
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

// await waits until the oldest record on its way is stored.
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

// Finish returns when all is stored, and ends the import also if it fails. Next is the
// offset that the next message will get; messages before it that were not added become
// empty ones.
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
	return errors.Join(err, i.log.Close())
}
