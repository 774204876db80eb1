package jetlog

import (
	"slices"
	"sync"
)

const (
	// smallestBatch is the number of appends from which one batch takes less
	// time than their single writes. A batch costs about thirteen of them,
	// however many records it has: JetStream stages it in a file of its own.
	smallestBatch = 16
	// largestBatch and largestBatchBytes bound a batch; JetStream takes no more
	// than 1,000 messages.
	largestBatch      = 1000
	largestBatchBytes = 8 << 20
	// knownIDs is how many message ids of the last appends are remembered, so
	// that a repeated one does not spoil a batch.
	knownIDs = 64 << 10
)

// group makes appends that come together share a write to the disk. While one
// batch is written the next one gathers.
type group struct {
	publisher *publisher

	mu      sync.Mutex // guards all below
	waiting []*pendingAppend
	busy    bool // a goroutine is at work

	ids     map[string]struct{} // of the last appends
	idOrder []string            // the same, oldest first
}

func newGroup(p *publisher) *group {
	return &group{publisher: p, ids: make(map[string]struct{})}
}

// add appends a, now or with those that wait.
func (g *group) add(a *pendingAppend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = append(g.waiting, a)
	if !g.busy {
		g.busy = true
		go g.work()
	}
}

// work appends until nobody waits.
func (g *group) work() {
	for {
		together, single := g.next()
		if len(together)+len(single) == 0 {
			return
		}
		if len(together) < smallestBatch {
			single, together = append(together, single...), nil
		}
		if len(together) > 0 {
			if err := g.publisher.publishBatch(together, g.publishEach); err != nil {
				endAll(together, err)
			}
		}
		g.publishEach(single)
		for _, a := range slices.Concat(together, single) {
			<-a.done
		}
	}
}

// next takes who waits: who may be in one batch, and who may not as another
// append with the same key is near. It ends the work if nobody waits.
func (g *group) next() (together, single []*pendingAppend) {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, bytes := 0, 0
	for n < len(g.waiting) && n < largestBatch && (n == 0 || bytes+len(g.waiting[n].record) <= largestBatchBytes) {
		a := g.waiting[n]
		bytes += len(a.record)
		n++
		if a.id != "" && !g.remember(a.id) {
			single = append(single, a)
		} else {
			together = append(together, a)
		}
	}
	g.waiting = g.waiting[n:]
	if n == 0 {
		g.busy, g.waiting = false, nil
	}
	return together, single
}

// remember notes an id, and returns false if it was known. The caller holds mu.
func (g *group) remember(id string) bool {
	if _, known := g.ids[id]; known {
		return false
	}
	g.ids[id] = struct{}{}
	g.idOrder = append(g.idOrder, id)
	if len(g.idOrder) > knownIDs {
		delete(g.ids, g.idOrder[0])
		g.idOrder = g.idOrder[1:]
	}
	return true
}

// publishEach appends one by one, without waiting.
func (g *group) publishEach(appends []*pendingAppend) {
	for _, a := range appends {
		if err := g.publisher.publish(a); err != nil {
			a.end(appendedNowhere, err)
		}
	}
}

func endAll(appends []*pendingAppend, err error) {
	for _, a := range appends {
		a.end(appendedNowhere, err)
	}
}
