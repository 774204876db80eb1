package chatsvc

import (
	"context"
	"time"
)

// Drain ends all streams one after the other, evenly spread over the time spread, so
// that their clients do not all reconnect to other servers at once. Each stream ends with
// the code unavailable after it has sent all messages that are stored by then. New streams
// are refused with the same code from the start of Drain on. Sends are still accepted, and
// requests with many messages stay open. Drain returns when all streams were told to end,
// or ctx.Err() when ctx is done. The caller should call [Service.Shutdown] next, which also
// ends streams that always have something to send.
func (s *Service) Drain(ctx context.Context, spread time.Duration) error {
	s.mu.Lock()
	s.drained = true
	s.mu.Unlock()
	streams := s.pending.all()
	if len(streams) == 0 {
		return ctx.Err()
	}
	began, pause := time.Now(), spread/time.Duration(len(streams))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i, w := range streams {
		timer.Reset(time.Until(began.Add(time.Duration(i) * pause)))
		select {
		case <-timer.C:
			s.awaitAcknowledged(ctx)
			w.leave()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// awaitAcknowledged returns when all acknowledged messages are available to subscribers, or
// after drainTime.
func (s *Service) awaitAcknowledged(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	b := s.broker.Load()
	_ = b.await(ctx, b.acknowledged.Load()) // the stream ends in any case
}

// all returns the streams in no particular order.
func (p *pendingWrites) all() []*writeWatchdog {
	p.mu.Lock()
	defer p.mu.Unlock()
	streams := make([]*writeWatchdog, 0, len(p.streams))
	for w := range p.streams {
		streams = append(streams, w)
	}
	return streams
}
