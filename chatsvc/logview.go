package chatsvc

import (
	"context"
	"sync"
	"time"
)

// logView notes when the log was last asked which records it retains.
type logView struct {
	mu     sync.Mutex    // guards all below
	at     time.Time     // of the last answer
	asking chan struct{} // closed when the pending request is answered; nil if none is pending
}

// refresh updates the first retained offset, which can change without new records. It asks
// the log at most once in viewAge for all subscribers. If the log does not answer, the last
// answer stays in use.
func (b *broker) refresh(ctx context.Context) {
	if asked := b.ask(); asked != nil {
		select {
		case <-asked:
		case <-ctx.Done():
		}
	}
}

// ask asks the log which records it retains, unless it was asked less than viewAge ago. The
// returned channel is closed when the answer has arrived; it is nil if no request was needed.
func (b *broker) ask() <-chan struct{} {
	v := &b.view
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asking != nil {
		return v.asking
	}
	if time.Since(v.at) < viewAge {
		return nil
	}
	asked := make(chan struct{})
	v.asking = asked
	go func() {
		defer close(asked)
		ctx, cancel := context.WithTimeout(context.Background(), logTime)
		defer cancel()
		state, err := b.log.State(ctx)
		if err == nil && state.Epoch == b.epoch { // Follow reports another epoch
			b.mu.Lock()
			b.retain(state.First)
			b.mu.Unlock()
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		v.at, v.asking = time.Now(), nil
	}()
	return asked
}

// viewAge is how long an answer of the log is used for all subscribers.
const viewAge = time.Second

// logTime bounds a request to the log.
const logTime = 2 * time.Second
