package jetlog

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"example.com/simplechat/chatsvc"
)

// keysBatch is how many messages storedKeys asks for at a time.
const keysBatch = 1000

// journaled returns the offset up to which the journal of keys has all: the mark
// is written after it. Without a journal, as of an older version, that is none.
func (d *directory) journaled(m mark, epoch string) uint64 {
	if _, err := os.Stat(filepath.Join(d.path, keysFile)); err != nil || m.damaged || m.Epoch != epoch {
		return 0
	}
	return m.Offset
}

// storedKeys returns the keys of the records from offset from on that were stored
// within [chatsvc.KeyWindow]. A process that was killed may not have noted them in
// its journal, and JetStream knows them only as long as it has the records, of
// which last is the last one.
func (l *Log) storedKeys(ctx context.Context, from, last uint64) (map[string]keyUse, error) {
	stored := map[string]keyUse{}
	if from > last {
		return stored, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	since := time.Now().Add(-chatsvc.KeyWindow)
	config := jetstream.ConsumerConfig{
		AckPolicy:     jetstream.AckNonePolicy,
		MemoryStorage: true,
		HeadersOnly:   true,
		DeliverPolicy: jetstream.DeliverByStartTimePolicy,
		OptStartTime:  &since,
	}
	if from > 1 {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartSequencePolicy, nil
		config.OptStartSeq = from
	}
	consumer, err := l.js.CreateConsumer(ctx, l.stream, config)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	for left := consumer.CachedInfo().NumPending; left > 0; {
		batch, err := consumer.Fetch(int(min(left, keysBatch)), jetstream.FetchMaxWait(requestTime))
		if err != nil {
			return nil, fmt.Errorf("read the keys: %w", err)
		}
		got := uint64(0)
		for msg := range batch.Messages() {
			got++
			at, err := msg.Metadata()
			if err != nil {
				return nil, err
			}
			left = min(left-1, at.NumPending)
			if id := msg.Headers().Get(jetstream.MsgIDHeader); len(id) == messageIDSize {
				stored[id] = keyUse{at.Sequence.Stream, at.Timestamp}
			}
		}
		if got == 0 {
			break // what is left cannot be read
		}
	}
	return stored, l.js.DeleteConsumer(ctx, l.stream, consumer.CachedInfo().Name)
}
