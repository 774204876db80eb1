package sim

import (
	"context"
	"fmt"
	"time"
)

// linkOf returns the open connection that a number is about.
func (w *world) linkOf(n int) (*link, bool) {
	open := w.network.open("")
	if len(open) == 0 {
		return nil, false
	}
	return open[n%len(open)], true
}

func (w *world) cut(s step) {
	if l, ok := w.linkOf(s.A); ok {
		w.reached.add("network: cut")
		l.cut()
	}
}

func (w *world) cutAll(s step) {
	if len(w.network.open("")) >= 5 {
		w.reached.add("scenario: many resume at once")
	}
	for _, l := range w.network.open(w.servers[s.A%len(w.servers)].name) {
		w.reached.add("network: cut")
		l.cut()
	}
}

func (w *world) stall(s step) {
	l, ok := w.linkOf(s.A)
	if !ok {
		return
	}
	h, what := l.down, "to the client"
	if s.B == 0 {
		h, what = l.up, "to the server"
	}
	w.reached.add("network: stall " + what)
	h.change(func() { h.stalled = true })
	time.AfterFunc(s.For, func() { h.change(func() { h.stalled = false }) })
}

func (w *world) half(s step) {
	l, ok := w.linkOf(s.A)
	if !ok {
		return
	}
	h := l.down
	if s.B == 0 {
		h = l.up
	}
	w.reached.add("network: half-closed")
	h.change(func() { h.closed = true })
}

func (w *world) hole(s step) {
	if l, ok := w.linkOf(s.A); ok {
		w.reached.add("network: black hole")
		l.up.change(func() { l.up.lossy = true })
		l.down.change(func() { l.down.lossy = true })
	}
}

func (w *world) breakAfter(s step) { w.network.breakNext(s.A) }

func (w *world) delay(s step) { w.network.setDelay(s.For) }

func (w *world) faultAppend(s step) { w.fault(s, func(l *replicaLog) *[]mishap { return &l.appends }) }

func (w *world) faultRead(s step) { w.fault(s, func(l *replicaLog) *[]mishap { return &l.reads }) }

func (w *world) faultState(s step) { w.fault(s, func(l *replicaLog) *[]mishap { return &l.states }) }

func (w *world) fault(s step, of func(*replicaLog) *[]mishap) {
	if srv, ok := w.up(s.A); ok {
		srv.log.add(of(srv.log), s.B, mishap{mishapKind(s.C % int(mishapKinds)), s.For})
	}
}

func (w *world) breakFollow(s step) {
	if srv, ok := w.up(s.A); ok {
		srv.log.breakFollow()
	}
}

func (w *world) lag(s step) {
	if srv, ok := w.up(s.A); ok {
		srv.log.setLag(min(s.For, longestLag))
	}
}

// longestLag is less than the time for which a service waits for a record that it knows
// to be stored: a replica that lags longer refuses subscribers, and is no more to be tested.
const longestLag = 8 * time.Second

func (w *world) rollback(s step) {
	if w.disk != nil {
		return
	}
	w.reached.add("log: rollback")
	w.wentBack = true
	w.store.rollback(s.A)
}

func (w *world) kill(s step) {
	if srv, ok := w.up(s.A); ok {
		w.reached.add("server: killed")
		w.end(srv)
	}
}

func (w *world) stop(s step) {
	srv, ok := w.up(s.A)
	if !ok {
		return
	}
	w.reached.add("server: stopped")
	srv.up = false
	was := *srv
	w.background.Go(func() { shutdown(&was) })
}

func (w *world) start(s step) {
	srv := w.servers[s.A%len(w.servers)]
	if srv.up {
		return
	}
	if err := w.begin(srv); err != nil {
		w.problemf("%s does not begin again: %v", srv.name, err)
	}
}

func (w *world) drain(s step) {
	srv, ok := w.up(s.A)
	if !ok {
		return
	}
	srv.up = false // it takes no more streams
	was := *srv
	w.background.Go(func() {
		_ = was.service.Drain(context.Background(), s.For)
		shutdown(&was)
	})
}

func (w *world) revoke(s step) {
	user := w.clients[s.A%len(w.clients)].user
	w.reached.add("user: revoked")
	w.users.revoke(user)
	time.AfterFunc(s.For, func() { w.users.restore(user) })
}

func (w *world) idle(s step) { pass(s.For) }

func (w *world) leave(s step) {
	if s.B == 0 && len(w.followers) > 0 {
		w.followers[s.A%len(w.followers)].cancel()
	}
	if s.B == 1 && len(w.streams) > 0 {
		w.streams[s.A%len(w.streams)].cancel()
	}
}

func (w *world) nap(s step) {
	if s.B == 0 && len(w.followers) > 0 {
		w.reached.add("reader: naps")
		w.followers[s.A%len(w.followers)].nap(s.For)
	}
	if s.B == 1 && len(w.streams) > 0 {
		w.reached.add("reader: naps, and its window closes")
		w.streams[s.A%len(w.streams)].nap(s.For)
	}
}

// content returns a content that is sent once, of about a size.
func content(from string, n, size int) []byte {
	name := fmt.Sprintf("%s/%d:", from, n)
	c := make([]byte, max(size, len(name)))
	copy(c, name)
	for i := len(name); i < len(c); i++ {
		c[i] = 'a' + byte(i%26)
	}
	return c
}
