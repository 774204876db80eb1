package chatsvc

import (
	"context"
	"time"
)

// Drain ends all streams one after the other, at equal distances within spread, so
// that their clients do not come to another server all at once. Each ends with the
// code unavailable when it has all that it is due at that moment. From the beginning of
// Drain on new streams are refused with the same code; sends are not, nor are requests
// with many messages ended. It returns when all streams were told, or ctx.Err() when ctx
// is done. Streams that never rest are left to [Service.Shutdown], which a caller calls
// next.
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

// awaitAcknowledged returns when subscribers can get what senders were told is stored,
// or after drainTime.
func (s *Service) awaitAcknowledged(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	b := s.broker.Load()
	_ = b.await(ctx, b.acknowledged.Load()) // the stream ends all the same
}

// all returns the streams, in no order.
func (p *pendingWrites) all() []*watchdog {
	p.mu.Lock()
	defer p.mu.Unlock()
	streams := make([]*watchdog, 0, len(p.streams))
	for w := range p.streams {
		streams = append(streams, w)
	}
	return streams
}
