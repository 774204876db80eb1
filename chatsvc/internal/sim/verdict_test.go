package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// checkFollowers checks that a message that is sent now comes to all followers within a
// time.
func (w *world) checkFollowers(when string, within time.Duration) {
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	c := w.clients[0]
	c.sent++
	op := &send{user: c.user, content: string(content(c.user, c.sent, 10)), done: true}
	attempt := w.note(op)
	got, err := c.Send(ctx, &chatpb.ChatMessage{Content: []byte(op.content), Type: chatpb.ChatMessage_Text}, "")
	op.epoch, op.offset, op.again, op.err = got.Epoch, got.Offset, got.Duplicate, err
	if err != nil {
		w.problemf("%s: a send fails: %v", when, err)
		return
	}
	attempt.Return(got.Epoch, got.Offset, false)
	pass(within)
	epoch, next := w.store.state()
	for _, f := range w.followers {
		if f.ctx.Err() == nil && !f.has(epoch, next) {
			w.problemf("%s: %s is at %s, %v after record %d of %s", when, f.track.name, f.place(), within, next-1, epoch)
		}
	}
}

// checkReadable checks that every server hands out all that must be retained.
func (w *world) checkReadable() {
	for _, srv := range w.servers {
		first := w.store.retained(w.store.order[len(w.store.order)-1])
		t := newTrack(w, "reader of "+srv.name)
		epoch, next := w.store.state()
		if first < next {
			t.epoch, t.next[epoch] = epoch, first
		}
		w.readAll(srv, t, first)
	}
}

// readAll reads from an offset to the end.
func (w *world) readAll(srv *server, t *track, first uint64) {
	epoch, next := w.store.state()
	ctx, cancel := context.WithTimeout(w.ctx, settle)
	defer cancel()
	c, err := chatclient.New("http://"+srv.name,
		chatclient.WithBasicAuth(userName(0), "secret"), chatclient.WithDialer(w.network.dialer("10.0.2.1")))
	if err != nil {
		t.problemf("%v", err)
		return
	}
	defer c.Close()
	err = c.Read(ctx, chatclient.At(epoch, first), chatclient.End(), func(e chatclient.Event) error {
		if e.Message == nil {
			t.begin(e.Epoch, e.Offset, false)
		} else {
			t.record(e.Epoch, e.Offset, e.Message)
		}
		return nil
	})
	if err != nil || t.next[epoch] != next {
		t.problemf("it is at %d, and the next record is %d: %v", t.next[epoch], next, err)
	}
}

// checkHistory checks that one order of all sends and reads explains what clients saw. It is
// for logs that lose nothing: a message whose record was lost may be stored again.
func (w *world) checkHistory() {
	if w.wentBack {
		return
	}
	if err := w.history.Check(); err != nil {
		w.problemf("no order explains what clients saw: %v", err)
	}
	w.reached.add("verdict: an order was found")
}

// checkSends compares the answers to senders with the stored records.
func (w *world) checkSends() {
	w.mu.Lock()
	sends := w.sends
	w.mu.Unlock()
	known := make(map[string]*send)
	for _, op := range sends {
		known[op.content] = op
	}
	places := make(map[string]map[string][]uint64) // by content and epoch
	if w.disk != nil {
		w.disk.checkAcknowledged()
	}
	for _, epoch := range w.store.order {
		w.checkKeys(w.store.past[epoch])
		for i, r := range w.store.past[epoch].records {
			if r.msg == nil {
				continue
			}
			content := string(r.msg.GetContent())
			op := known[content]
			if op == nil || op.user != r.msg.GetFrom() {
				w.problemf("record %d of %s is one that nobody sent: %.40q from %s", i+1, epoch, content, r.msg.GetFrom())
				continue
			}
			if places[content] == nil {
				places[content] = make(map[string][]uint64)
			}
			places[content][epoch] = append(places[content][epoch], uint64(i)+1)
		}
	}
	for _, op := range sends {
		w.checkSend(op, known, places[op.content])
	}
}

// checkSend checks one send. Known are all sends by their contents.
func (w *world) checkSend(op *send, known map[string]*send, places map[string][]uint64) {
	switch {
	case !op.done:
		w.problemf("the send of %.40q has not ended", op.content)
	case op.err == nil:
		r, ok := w.store.find(op.epoch, op.offset)
		switch {
		case !ok && op.again && w.disk != nil: // nobody has read it: see checkAcknowledged
		case !ok:
			w.problemf("%.40q was acknowledged as %d of %s, and there is no such record", op.content, op.offset, op.epoch)
		case string(r.msg.GetContent()) == op.content:
		case op.again && op.isOf(known[string(r.msg.GetContent())]):
		default:
			w.problemf("%.40q was acknowledged as %d of %s, which is %.40q", op.content, op.offset, op.epoch, r.msg.GetContent())
		}
	case !errors.Is(op.err, chatclient.ErrUncertain) && len(places) > 0:
		w.problemf("%.40q was refused (%v), and is stored at %v", op.content, op.err, places)
	}
	for epoch, offsets := range places {
		if len(offsets) > 1 {
			w.problemf("%.40q is stored in %s at %v", op.content, epoch, offsets)
		}
	}
}

// isOf reports whether a send has the key of another one.
func (op *send) isOf(other *send) bool {
	return other != nil && op.shared && op.key == other.key && op.user == other.user
}

// checkKeys checks that each key has one record in the window.
func (w *world) checkKeys(past *incarnation) {
	last := make(map[string]stored)
	for i, r := range past.records {
		if r.key == "" {
			continue
		}
		if before, ok := last[r.key]; ok && r.at.Sub(before.at) < chatsvc.KeyWindow {
			w.problemf("record %d of %s has a key that another one had %v before", i+1, past.epoch, r.at.Sub(before.at))
		}
		last[r.key] = r
	}
}

// checkEpochs checks that the servers have the epoch of the log.
func (w *world) checkEpochs() {
	epoch, _ := w.store.state()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.sends[len(w.sends)-1:] {
		if op.err == nil && op.epoch != epoch {
			w.problems = append(w.problems, fmt.Sprintf("the last send was acknowledged in %s, and the log is in %s", op.epoch, epoch))
		}
	}
}
