package sqlitelog

import (
	"context"
	"fmt"
	"sync"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/internal/record"
)

// pendingAppend is an append that waits for the writer.
type pendingAppend struct {
	record  []byte
	message record.Message
	key     keyHash
	hasKey  bool
	inOrder bool          // stored only if the one before it in the queue is, in the same transaction
	done    chan struct{} // receives a value when the result is known

	result chatsvc.Appended
	err    error
}

var pendingPool = sync.Pool{New: func() any { return &pendingAppend{done: make(chan struct{}, 1)} }}

// end answers the append.
func (p *pendingAppend) end(result chatsvc.Appended, err error) {
	p.result, p.err = result, err
	p.done <- struct{}{}
}

// appendQueue holds the appends that wait for the writer. It is safe for concurrent use.
type appendQueue struct {
	arrived chan struct{} // has one element while appends wait

	mu      sync.Mutex // guards all below
	waiting []*pendingAppend
	closed  error // why no more appends are accepted; nil while they are
}

// add puts appends into the queue, in their order.
func (q *appendQueue) add(appends ...*pendingAppend) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed != nil {
		return q.closed
	}
	wasEmpty := len(q.waiting) == 0
	q.waiting = append(q.waiting, appends...)
	if wasEmpty && len(appends) > 0 {
		select {
		case q.arrived <- struct{}{}:
		default:
		}
	}
	return nil
}

// take returns all waiting appends.
func (q *appendQueue) take() []*pendingAppend {
	q.mu.Lock()
	defer q.mu.Unlock()
	taken := q.waiting
	q.waiting = make([]*pendingAppend, 0, len(taken))
	return taken
}

// close makes add fail with err from now on.
func (q *appendQueue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = err
}

// newPending checks a record and returns an append for it.
func newPending(r chatsvc.NewRecord) (*pendingAppend, error) {
	message, err := record.Parse(r.Record)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("append: %w", err))
	}
	p := pendingPool.Get().(*pendingAppend) //nolint:forcetypeassert // the pool has nothing else
	p.record, p.message, p.hasKey = r.Record, message, r.Key != ""
	if p.hasKey {
		p.key = hashKey(r.Key)
	}
	return p, nil
}

// wait returns the outcome of the append. P must not be used after it.
func (p *pendingAppend) wait(ctx context.Context) chatsvc.Outcome {
	select {
	case <-p.done:
	case <-ctx.Done():
		return chatsvc.Outcome{Err: ctx.Err()} // the writer still has p
	}
	outcome := chatsvc.Outcome{Appended: p.result, Err: p.err}
	*p = pendingAppend{done: p.done}
	pendingPool.Put(p)
	return outcome
}
