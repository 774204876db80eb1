package sim

import (
	"context"
	"net/http"
	"sync"
	"time"

	"example.com/simplechat/chatsvc"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// checkShutdown ends all servers in order, while the network is well: each stream ends as
// it must, and nothing is held.
func (w *world) checkShutdown() {
	for _, f := range w.followers { // they would come back
		f.cancel()
	}
	for _, s := range w.streams {
		s.cancel()
	}
	pass(time.Second)
	w.checkLate()
	var last []*stream
	for i, srv := range w.servers {
		for n := range 3 {
			face := (i + n + w.rng.IntN(len(streamFaces))) % len(streamFaces)
			s := &stream{w: w, server: srv.name, face: face, header: http.Header{}}
			w.beginStream(s)
			last = append(last, s)
		}
	}
	pass(5 * time.Second)
	for _, srv := range w.servers {
		w.background.Go(func() { shutdown(srv) })
	}
	pass(10 * time.Second)
	for _, s := range last {
		ended, err := s.isEnded()
		switch {
		case !ended:
			s.track.problemf("it has not ended 10 s after the shutdown began")
		case !isShutdown(err):
			s.track.problemf("it ended with %v at the shutdown", err)
		}
	}
	w.checkMemory()
	for _, srv := range w.servers {
		if got := srv.service.Stats(); got.Subscribers > 0 || got.BodyBytes != 0 {
			w.problemf("%s holds at its end: %+v", srv.name, got)
		}
	}
}

// checkLate checks that a subscriber that is late, and left the crowd, is not forgotten: what
// comes when it has caught up comes to it at once.
func (w *world) checkLate() {
	srv := w.servers[w.rng.IntN(len(w.servers))]
	l := &latecomer{track: newTrack(w, "late reader of "+srv.name)}
	ctx, cancel := context.WithCancel(w.ctx)
	var reader sync.WaitGroup
	reader.Go(func() { l.read(ctx, srv.service) })
	pass(0)
	l.nap(settle)
	for range 4 { // more than the hot end has at least
		w.publish(srv, maxContent)
	}
	l.wake()
	pass(100 * time.Millisecond)
	w.publish(srv, 10)
	pass(min(time.Second, w.prompt()))
	if epoch, next := w.store.state(); l.due(epoch) != next {
		w.problemf("%s is at %d, and the next record is %d", l.track.name, l.due(epoch), next)
	}
	cancel()
	reader.Wait()
}

// publish publishes a message on a server.
func (w *world) publish(srv *server, size int) {
	w.floods++
	op := &send{user: "system", content: string(content("late", w.floods, size)), done: true}
	w.mu.Lock()
	w.sends = append(w.sends, op)
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(w.ctx, longestPublish)
	defer cancel()
	_, err := srv.service.Publish(ctx, chatsvc.User{Name: op.user}, &chatpb.ChatMessage{Content: []byte(op.content), Type: chatpb.ChatMessage_Text})
	if err != nil {
		w.problemf("%s: publish: %v", srv.name, err)
	}
}

// latecomer is a subscriber in the process of a server that naps.
type latecomer struct {
	pauses

	at    sync.Mutex // guards track
	track *track
}

// read reads new messages until ctx is done.
func (l *latecomer) read(ctx context.Context, service *chatsvc.Service) {
	for m, err := range service.Messages(ctx, "-1") {
		if err != nil {
			l.track.problemf("%v", err)
			return
		}
		l.take(m)
		l.rest(ctx)
	}
}

func (l *latecomer) take(m chatsvc.Message) {
	l.at.Lock()
	defer l.at.Unlock()
	if l.track.epoch == "" {
		l.track.begin(m.Epoch, m.Offset, true)
	}
	l.track.record(m.Epoch, m.Offset, m.ChatMessage)
}

// due returns the offset that is due in an epoch.
func (l *latecomer) due(epoch string) uint64 {
	l.at.Lock()
	defer l.at.Unlock()
	return l.track.next[epoch]
}

// checkMemory checks that the servers' counts of their memory are within the bounds.
func (w *world) checkMemory() {
	for _, srv := range w.servers {
		got := srv.service.Stats()
		hot, cold := max(w.setup.Hot, leastHot), max(w.setup.Cold, leastCold)
		if got.HotBytes < 0 || got.HotBytes > hot || got.ColdBytes < 0 || got.ColdBytes > cold {
			w.problemf("%s counts %d bytes of the newest records and %d of older ones: %d and %d are allowed", srv.name, got.HotBytes, got.ColdBytes, hot, cold)
		}
	}
}

const (
	// leastHot is two chunks and the one that is being filled: each has 64 KiB, or one
	// larger record.
	leastHot = 4 * (maxContent + 1<<10)
	// leastCold is one read, which may be of the largest record, with its JSON form.
	leastCold = 4 * (maxContent + 1<<10)
)
