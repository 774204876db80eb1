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
	p, err := newPending(chatsvc.NewRecord{Record: data, Key: key})
	if err != nil {
		return chatsvc.Appended{}, err
	}
	if err := l.appends.add(p); err != nil {
		return chatsvc.Appended{}, err
	}
	outcome := p.wait(ctx)
	return outcome.Appended, outcome.Err
}

// AppendBatch implements [chatsvc.BatchLog]; it fails like Append.
func (l *Log) AppendBatch(ctx context.Context, records []chatsvc.NewRecord) []chatsvc.Outcome {
	outcomes := make([]chatsvc.Outcome, len(records))
	waiting := make([]*pendingAppend, 0, len(records))
	places := make([]int, 0, len(records))
	for i, r := range records {
		if outcomes[i].Err = ctx.Err(); outcomes[i].Err != nil {
			continue
		}
		p, err := newPending(r)
		if outcomes[i].Err = err; err == nil {
			waiting, places = append(waiting, p), append(places, i)
		}
	}
	err := l.appends.add(waiting...)
	for i, p := range waiting {
		if err != nil {
			outcomes[places[i]].Err = err
			continue
		}
		outcomes[places[i]] = p.wait(ctx)
	}
	return outcomes
}

// newPending returns the append of a record, which is checked.
func newPending(r chatsvc.NewRecord) (*pendingAppend, error) {
	message, err := record.Parse(r.Record)
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("append: %w", err))
	}
	p := pendingPool.Get().(*pendingAppend) //nolint:forcetypeassert // the pool has nothing else
	p.record, p.message, p.hasKey = r.Record, message, r.Key != ""
	if p.hasKey {
		p.key = sumKey(r.Key)
	}
	return p, nil
}

// wait returns what became of the append. P is not used after it.
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
