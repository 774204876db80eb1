package bench

import (
	"context"
	"time"
)

// Sample holds the rates in a part of the run.
type Sample struct {
	At         float64 `json:"at"` // end, seconds since the load began
	Sends      float64 `json:"sends"`
	Deliveries float64 `json:"deliveries"` // a second, both
}

// sampler takes samples while load is offered, and shows progress.
type sampler struct {
	bench   *Bench
	every   time.Duration
	samples []Sample
	quit    func()
	ended   chan struct{}
}

// samplesPerRun is the number of samples of a run, unless they would be shorter than
// shortestSample.
const (
	samplesPerRun  = 100
	shortestSample = 50 * time.Millisecond
)

func (b *Bench) newSampler() *sampler {
	every := (b.workload.Warmup + b.workload.Duration) / samplesPerRun
	return &sampler{bench: b, every: max(every, shortestSample), ended: make(chan struct{})}
}

func (s *sampler) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.quit = cancel
	go s.take(ctx)
}

// stop returns the samples. It may be called again.
func (s *sampler) stop() []Sample {
	s.quit()
	<-s.ended
	return s.samples
}

func (s *sampler) take(ctx context.Context) {
	defer close(s.ended)
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	begin := time.Now()
	last, lastSent, lastDelivered := begin, int64(0), int64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		c, _ := s.bench.tallies.counts()
		sent := s.bench.pubs.stored.Load()
		seconds := now.Sub(last).Seconds()
		next := Sample{
			At:         now.Sub(begin).Seconds(),
			Sends:      float64(sent-lastSent) / seconds,
			Deliveries: float64(c.deliveries-lastDelivered) / seconds,
		}
		s.samples = append(s.samples, next)
		s.bench.Progress.loading(next, s.bench.workload)
		last, lastSent, lastDelivered = now, sent, c.deliveries
	}
}
