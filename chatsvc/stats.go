package chatsvc

// BehindAfter is the number of unread messages from which [Stats] counts a
// subscriber as behind.
const BehindAfter = 1000

// Stats is what a service does at one moment and has done since [New]. Counts of
// the log's readers start again when the log has another epoch.
type Stats struct {
	// Subscribers are the streams that are open.
	Subscribers int
	// Behind are those of them with at least [BehindAfter] unread messages.
	Behind int
	// MaxLag is the number of unread messages of the one that has most.
	MaxLag uint64
	// Delivered are messages that were written to subscribers, each counted for
	// every subscriber, in as many Batches of as many Bytes without envelopes.
	Delivered, Batches, Bytes uint64
	// Releases says how often waiting subscribers were woken, and Wakeups how many
	// of them, counted each time.
	Releases, Wakeups uint64
	// HotBytes and ColdBytes are the memory for the newest messages, and for older
	// ones that are being read, in bytes.
	HotBytes, ColdBytes int64
	// ColdReads are reads of the log, and ColdHits those that another one made
	// unnecessary.
	ColdReads, ColdHits uint64
}

// deliveries are messages that were written to subscribers.
type deliveries struct{ messages, batches, bytes uint64 }

func (d *deliveries) add(more deliveries) {
	d.messages += more.messages
	d.batches += more.batches
	d.bytes += more.bytes
}

// Stats returns the service's counts. It looks at every stream, so it is for a scrape
// every few seconds; what it looks at is counted without further cost. It may be
// called at any time, also after Close.
func (s *Service) Stats() Stats {
	var got Stats
	s.broker.Load().stats(&got)
	s.pending.stats(&got, s.broker.Load().next())
	return got
}

// stats adds what a broker counts.
func (b *broker) stats(to *Stats) {
	b.mu.Lock()
	to.Releases, to.Wakeups, to.HotBytes = b.releases, b.wakeups, b.hot.bytes
	b.mu.Unlock()
	b.cold.mu.Lock()
	to.ColdBytes = b.cold.used + b.cold.json.bytes.Load()
	b.cold.mu.Unlock()
	to.ColdReads, to.ColdHits = b.cold.reads.Load(), b.cold.hits.Load()
}

// stats adds what the streams count, where next is the offset of the next record.
func (p *pendingWrites) stats(to *Stats, next uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.ended
	for w := range p.streams {
		sent, at := w.progress()
		sum.add(sent)
		if at == 0 || at >= next {
			continue
		}
		lag := next - at
		to.MaxLag = max(to.MaxLag, lag)
		if lag >= BehindAfter {
			to.Behind++
		}
	}
	to.Subscribers = len(p.streams)
	to.Delivered, to.Batches, to.Bytes = sum.messages, sum.batches, sum.bytes
}
