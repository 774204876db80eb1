package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	// perMessage bounds the time to store each message of a history, because a dead server
	// never answers.
	perMessage = 500 * time.Microsecond
	// storeTime is added to that for the whole history.
	storeTime = time.Minute
	// recallTime bounds the time to read a history.
	recallTime = 10 * time.Minute
)

// Store sends n messages, and returns when all are acknowledged.
func (b *Bench) Store(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime+time.Duration(n)*perMessage)
	defer cancel()
	defer b.close()
	if err := b.connectPublishers(ctx); err != nil {
		return err
	}
	if err := b.pubs.openLoop(ctx, b.pubs.conns[0].free, b.workload.Rate, n); err != nil {
		return err
	}
	b.drain(ctx)
	if err := b.pubs.broken(); err != nil {
		return err
	}
	if stored := b.pubs.stored.Load(); stored != int64(n) {
		return fmt.Errorf("%d of %d messages were acknowledged", stored, n)
	}
	return nil
}

// Recall subscribes, and returns how long it took until all subscribers together
// had read n messages of others.
func (b *Bench) Recall(ctx context.Context, n int) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, recallTime)
	defer cancel()
	defer b.close()
	began := time.Now()
	if err := b.subscribe(ctx); err != nil {
		return 0, err
	}
	for {
		c, _ := b.tallies.counts()
		if c.foreign >= int64(n) {
			return time.Since(began), nil
		}
		for _, s := range b.subs {
			if err := s.broken(); err != nil {
				return 0, fmt.Errorf("after %d of %d messages: %w", c.foreign, n, err)
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("the server sent %d messages, not %d", c.foreign, n)
		}
		Wait(ctx, pollTime)
	}
}

// FirstBatch subscribes, and returns how many messages of others came with the
// first batches. It ends then.
func (b *Bench) FirstBatch(ctx context.Context) (int64, error) {
	defer b.close()
	if err := b.subscribe(ctx); err != nil {
		return 0, err
	}
	c, _ := b.tallies.counts()
	return c.foreign, nil
}
