package bench

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// maxLatency is the largest latency that histograms tell apart.
const maxLatency = 10 * time.Minute

// tally counts the messages of a part of the subscribers. Each connection adds to one of
// a few tallies, so that readers rarely wait for each other.
type tally struct {
	received atomic.Int64 // bytes off the sockets, without TCP's own

	mu      sync.Mutex // guards all below
	counts  counts
	latency *hdrhistogram.Histogram // ns, of deliveries in the measured time or after it
}

// counts are sums over subscribers.
type counts struct {
	deliveries int64 // to healthy subscribers, each message once
	batches    int64 // to healthy subscribers, the empty ones apart
	carried    int64 // messages in them, others' too
	heartbeats int64 // empty batches
	foreign    int64 // messages that are not this run's
	apart      int64 // deliveries to slow and stuck subscribers
}

func (c *counts) add(o counts) {
	c.deliveries += o.deliveries
	c.batches += o.batches
	c.carried += o.carried
	c.heartbeats += o.heartbeats
	c.foreign += o.foreign
	c.apart += o.apart
}

// newHistogram returns a histogram of times in ns with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(maxLatency), 3)
}

// record adds a latency. A value beyond the histogram's range counts as its end.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 1), maxLatency)))
}

// tallies are all of them.
type tallies []*tally

func newTallies(n int) tallies {
	all := make(tallies, n)
	for i := range all {
		all[i] = &tally{latency: newHistogram()}
	}
	return all
}

// counts returns the sums, and the bytes received.
func (all tallies) counts() (counts, int64) {
	var sum counts
	var received int64
	for _, t := range all {
		t.mu.Lock()
		sum.add(t.counts)
		t.mu.Unlock()
		received += t.received.Load()
	}
	return sum, received
}

// latency returns the distribution over all.
func (all tallies) latency() *hdrhistogram.Histogram {
	sum := newHistogram()
	for _, t := range all {
		t.mu.Lock()
		sum.Merge(t.latency)
		t.mu.Unlock()
	}
	return sum
}
