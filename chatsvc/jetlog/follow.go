package jetlog

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// Follow implements [chatsvc.Log].
func (l *Log) Follow(ctx context.Context, from uint64, yield func(chatsvc.Entry) error) error {
	consumer, err := l.js.CreateConsumer(ctx, l.name, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:   max(from, 1),
		AckPolicy:     jetstream.AckNonePolicy,
		MaxDeliver:    1,
		Replicas:      1,
		MemoryStorage: true,
	})
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(4096))
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("follow: %w", err)
		}
		at, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("follow: %w", err)
		}
		if err := yield(chatsvc.Entry{Offset: at.Sequence.Stream, Time: at.Timestamp, Record: msg.Data()}); err != nil {
			return err
		}
	}
}
