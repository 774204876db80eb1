package jetlog

import (
	"context"
	"sync"

	"example.com/simplechat/chatsvc"
)

// queueBytes bounds the records that have arrived for a Follow and were not yielded yet,
// without the last record.
const queueBytes = 1 << 20

// queued is a record that has arrived.
type queued struct {
	chatsvc.Entry

	id string // JetStream's message id, that of the key; empty: none
}

// queue holds the records that have arrived for a Follow. It blocks its writer while it
// is full.
type queue struct {
	filled  chan struct{} // has one element when the queue has records
	emptied chan struct{} // has one element when the queue has room

	mu      sync.Mutex // guards all below
	records []queued
	bytes   int
}

func newQueue() *queue {
	return &queue{filled: make(chan struct{}, 1), emptied: make(chan struct{}, 1)}
}

// add waits for room until ctx is done.
func (q *queue) add(ctx context.Context, r queued) {
	for {
		q.mu.Lock()
		if q.bytes < queueBytes {
			q.records = append(q.records, r)
			q.bytes += len(r.Record) + recordOverhead
			q.mu.Unlock()
			signal(q.filled)
			return
		}
		q.mu.Unlock()
		select {
		case <-q.emptied:
		case <-ctx.Done():
			return
		}
	}
}

func (q *queue) takeAll() []queued {
	q.mu.Lock()
	defer q.mu.Unlock()
	records := q.records
	q.records, q.bytes = nil, 0
	signal(q.emptied)
	return records
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
