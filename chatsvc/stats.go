package chatsvc

// BehindAfter is the number of unread messages at which [Stats] counts a
// subscriber as behind.
const BehindAfter = 1000

// Stats are the current values of a service, and its counts since [New]. The counts of
// reads, releases and wakeups start again when the log has another epoch.
type Stats struct {
	// Subscribers is the number of open streams.
	Subscribers int
	// Behind is the number of them with at least [BehindAfter] unread messages.
	Behind int
	// MaxLag is the largest number of unread messages of one stream.
	MaxLag uint64
	// Delivered is the number of messages written to subscribers, each counted once for
	// every subscriber. Batches and Bytes are the number of batches and their size
	// without envelopes.
	Delivered, Batches, Bytes uint64
	// Releases is how often waiting subscribers were woken together, and Wakeups is the
	// sum of the subscribers that were woken.
	Releases, Wakeups uint64
	// HotBytes is the memory for the newest messages, and ColdBytes the memory for older
	// messages that are being read, in bytes.
	HotBytes, ColdBytes int64
	// BodyBytes is the memory that is reserved for messages that are being received
	// ([WithBodyBytes]), in bytes.
	BodyBytes int64
	// ColdReads is the number of reads of the log, and ColdHits the number of reads that
	// were answered from memory.
	ColdReads, ColdHits uint64
}

// deliveries counts messages that were written to subscribers.
type deliveries struct{ messages, batches, bytes uint64 }

func (d *deliveries) add(more deliveries) {
	d.messages += more.messages
	d.batches += more.batches
	d.bytes += more.bytes
}

// Stats returns the service's counts. It visits every stream, so call it at most every few
// seconds. It may be called at any time, also after Close.
func (s *Service) Stats() Stats {
	var got Stats
	s.broker.Load().stats(&got)
	s.pending.stats(&got, s.broker.Load().next())
	got.BodyBytes = s.bodies.reserved()
	return got
}

// stats adds the counts of a broker.
func (b *broker) stats(to *Stats) {
	b.mu.Lock()
	to.Releases, to.Wakeups, to.HotBytes = b.releases, b.wakeups, b.hot.bytes
	b.mu.Unlock()
	b.cold.mu.Lock()
	to.ColdBytes = b.cold.used + b.cold.json.bytes.Load()
	b.cold.mu.Unlock()
	to.ColdReads, to.ColdHits = b.cold.reads.Load(), b.cold.hits.Load()
}

// stats adds the counts of the streams. Next is the offset of the next record.
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
