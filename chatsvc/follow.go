package chatsvc

import (
	"context"
	"errors"
	"time"

	"example.com/simplechat/chatsvc/internal/fault"
)

// startFollowing starts the goroutine that moves records from the log to the
// broker.
func (s *Service) startFollowing() {
	ctx, stop := context.WithCancel(context.Background())
	s.stopFollowing = stop
	go s.follow(ctx)
}

// follow moves records from the log to the broker until ctx is done. If the log
// fails, it continues at the same offset.
func (s *Service) follow(ctx context.Context) {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	backoff := shortest
	for {
		b := s.broker.Load()
		from := b.next()
		fault.At(fault.Following)
		err := s.log.Follow(ctx, b.epoch, from, b.publish)
		if ctx.Err() != nil {
			return
		}
		if !errors.Is(err, ErrEpoch) {
			s.logger.Error("follow the log", "from", from, "error", err)
		}
		if s.adoptEpoch(ctx) || b.next() > from {
			backoff = shortest
		}
		select {
		case <-time.After(backoff):
		case <-ctx.Done():
			return
		}
		backoff = min(2*backoff, longest)
	}
}

// adoptEpoch starts a new broker if the log has another epoch, and reports whether it has.
// The streams of the old epoch end.
func (s *Service) adoptEpoch(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, logTime) // a log that does not answer is asked again
	defer cancel()
	state, err := s.log.State(ctx)
	if err != nil {
		return false // Follow fails too, or continues
	}
	if err := state.validate(); err != nil {
		s.logger.Error("the log's state", "error", err)
		return false
	}
	fault.At(fault.Replacing)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.broker.Load()
	if s.closed || state.Epoch == old.epoch {
		return false
	}
	s.logger.Error("the log has another epoch: all streams end", "was", old.epoch, "is", state.Epoch)
	fresh := s.newBroker(state)
	s.broker.Store(fresh)
	old.close(errNewEpoch)
	return true
}

// newBroker returns a broker for the log in a state.
func (s *Service) newBroker(state State) *broker {
	b := newBroker(s.log, state, s.memory, s.replay, s.logger)
	b.hot.evicted, b.hot.json.freed, b.cold.json.freed = s.pending.evict, s.pending.evict, s.pending.evict
	return b
}
