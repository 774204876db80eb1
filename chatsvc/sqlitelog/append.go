package sqlitelog

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
)

// keySum stands for a key of any length: 16 bytes of its SHA-256.
type keySum [16]byte

func sumKey(key string) keySum {
	sum := sha256.Sum256([]byte(key))
	return keySum(sum[:])
}

// pendingAppend is an append that waits for the writer.
type pendingAppend struct {
	record  []byte
	message record.Message
	key     keySum
	hasKey  bool
	done    chan struct{} // gets a value when the result is there

	result chatsvc.Appended
	err    error
}

var pendingPool = sync.Pool{New: func() any { return &pendingAppend{done: make(chan struct{}, 1)} }}

// end answers the append.
func (p *pendingAppend) end(result chatsvc.Appended, err error) {
	p.result, p.err = result, err
	p.done <- struct{}{}
}

// appendQueue is the appends that wait for the writer. It is safe for concurrent use.
type appendQueue struct {
	arrived chan struct{} // has one while there is something to take

	mu      sync.Mutex // guards all below
	waiting []*pendingAppend
	closed  error // why nothing more is taken
}

// add puts p into the queue.
func (q *appendQueue) add(p *pendingAppend) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	q.waiting = append(q.waiting, p)
	if len(q.waiting) == 1 {
		select {
		case q.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

// take returns all that wait.
func (q *appendQueue) take() []*pendingAppend {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = make([]*pendingAppend, 0, len(taken))
	return taken
}

// close refuses what comes from now on.
func (q *appendQueue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = err
}

// Append implements [chatsvc.Log]. The code is invalid_argument for bytes that are no
// record, and resource_exhausted while the disk is full: the record was not stored.
// It is unavailable otherwise: the record may have been stored, unless the text says
// that it was not.
func (l *Log) Append(ctx context.Context, data []byte, key string) (chatsvc.Appended, error) {
	if err := ctx.Err(); err != nil {
		return chatsvc.Appended{}, err
	}
	message, err := record.Parse(data)
	if err != nil {
		return chatsvc.Appended{}, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("append: %w", err))
	}
	p := pendingPool.Get().(*pendingAppend) //nolint:forcetypeassert // the pool has nothing else
	p.record, p.message, p.hasKey = data, message, key != ""
	if p.hasKey {
		p.key = sumKey(key)
	}
	if err := l.appends.add(p); err != nil {
		return chatsvc.Appended{}, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return chatsvc.Appended{}, ctx.Err() // the writer still has p
	}
	result, err := p.result, p.err
	*p = pendingAppend{done: p.done}
	pendingPool.Put(p)
	return result, err
}
