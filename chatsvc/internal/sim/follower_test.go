package sim

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
)

// pauses lets a reader read nothing for some time. It is safe for concurrent use.
type pauses struct {
	mu    sync.Mutex
	until time.Time     // when it reads again
	woken chan struct{} // closed and replaced by wake
}

func (p *pauses) nap(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Now().Add(d)
}

// wake ends the nap.
func (p *pauses) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = time.Time{}
	if p.woken != nil {
		close(p.woken)
		p.woken = nil
	}
}

// rest waits until the nap has ended.
func (p *pauses) rest(ctx context.Context) {
	p.mu.Lock()
	left := time.Until(p.until)
	if left > 0 && p.woken == nil {
		p.woken = make(chan struct{})
	}
	woken := p.woken
	p.mu.Unlock()
	if left <= 0 {
		return
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-woken:
	case <-ctx.Done():
	}
}

// follower follows by a chatclient.
type follower struct {
	pauses

	w      *world
	client *client
	ctx    context.Context //nolint:containedctx // done when it leaves
	cancel context.CancelFunc

	at    sync.Mutex // guards all below
	track *track
}

// follow begins a follower.
func (w *world) follow(s step) {
	f := &follower{w: w, client: w.clients[s.A%len(w.clients)]}
	f.track = newTrack(w, fmt.Sprintf("follower %d", len(w.followers)))
	f.ctx, f.cancel = context.WithCancel(w.ctx)
	w.followers = append(w.followers, f)
	from, isAny := chatclient.All(), false
	switch s.B {
	case 1:
		from, isAny = chatclient.End(), true
	case 2:
		from, isAny = chatclient.Last(uint64(s.C)), true
	case 3:
		epoch, next := w.store.state()
		at := min(uint64(s.C)+1, next)
		from = chatclient.At(epoch, at)
		f.track.next[epoch] = at
		f.track.epoch = epoch
	}
	w.reached.add("follow: begins at " + []string{"all", "end", "last", "a record"}[s.B])
	w.noteJoin()
	w.watchers.Go(func() { f.run(from, isAny) })
}

// noteJoin notes a reader that begins while many messages come.
func (w *world) noteJoin() {
	if w.flooding.Load() > 0 {
		w.reached.add("scenario: joins during a flood")
	}
}

// run follows until the follower leaves. While its credentials are not valid it tries
// again, as a user would.
func (f *follower) run(from chatclient.Position, isAny bool) {
	for f.ctx.Err() == nil {
		err := f.client.Follow(f.ctx, from, func(e chatclient.Event) error {
			f.rest(f.ctx)
			from = e.Next()
			f.take(e, &isAny)
			return f.ctx.Err()
		})
		if f.ctx.Err() != nil {
			return
		}
		if connect.CodeOf(err) != connect.CodeUnauthenticated {
			f.w.problemf("%s ends: %v", f.track.name, err)
			return
		}
		f.w.reached.add("follow: credentials are refused")
		select {
		case <-time.After(time.Second):
		case <-f.ctx.Done():
		}
	}
}

// take checks an event.
func (f *follower) take(e chatclient.Event, isAny *bool) {
	f.at.Lock()
	defer f.at.Unlock()
	t := f.track
	if e.Message != nil {
		t.record(e.Epoch, e.Offset, e.Message)
		return
	}
	if isNew := t.epoch != "" && t.epoch != e.Epoch; isNew != e.NewEpoch {
		t.problemf("the epoch was %q and is %q, and NewEpoch is %t", t.epoch, e.Epoch, e.NewEpoch)
	}
	due, known := t.next[e.Epoch]
	if !known {
		due = 1
	}
	if !known && t.epoch == "" && !*isAny { // all that is retained: nothing counts as lost
		t.gone(e.Epoch, 1, e.Offset)
		due = e.Offset
	}
	if !*isAny && e.Offset-e.Lost != due {
		t.problemf("it begins at %d and says that %d are lost, and %d was due", e.Offset, e.Lost, due)
	}
	if e.NewEpoch {
		f.w.reached.add("follow: another epoch")
	}
	f.w.reached.add("follow: stream opened")
	t.begin(e.Epoch, e.Offset, *isAny)
	*isAny = false
}

// has reports whether the follower has all below an offset.
func (f *follower) has(epoch string, next uint64) bool {
	f.at.Lock()
	defer f.at.Unlock()
	return f.track.epoch == epoch && f.track.next[epoch] >= next
}

// place returns where the follower is.
func (f *follower) place() string {
	f.at.Lock()
	defer f.at.Unlock()
	return fmt.Sprintf("%d of %s", f.track.next[f.track.epoch], f.track.epoch)
}
