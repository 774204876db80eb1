package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc"
	"example.com/simplechat/chatsvc/chatclient"
	"example.com/simplechat/chatsvc/linear"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// send is one message on its way. Its fields up to done are the run's, those below it are
// guarded by the world's mu.
type send struct {
	user    string
	content string
	key     string // empty: one that the client makes
	shared  bool   // others send with the same key
	// patience is how long the sender waits; 0: longestSend.
	patience time.Duration

	done   bool
	epoch  string
	offset uint64
	again  bool // the answer was that the key is known
	err    error
}

// longestSend bounds a send: longer than a client tries.
const longestSend = 10 * time.Minute

// longestPublish bounds a call of Publish.
const longestPublish = 30 * time.Second

func (w *world) send(s step) {
	c := w.clients[s.A%len(w.clients)]
	for range s.B {
		c.sent++
		w.sendOne(c, &send{user: c.user, content: string(content(c.user, c.sent, s.C))})
	}
}

// abandon is send by a client that does not wait for long.
func (w *world) abandon(s step) {
	c := w.clients[s.A%len(w.clients)]
	for range s.B {
		c.sent++
		w.sendOne(c, &send{user: c.user, content: string(content(c.user, c.sent, s.C)), patience: max(s.For, 1)})
	}
}

func (w *world) race(s step) {
	w.mu.Lock()
	key := fmt.Sprintf("race %d", len(w.sends))
	w.mu.Unlock()
	from := w.clients[s.C%len(w.clients)]
	for range s.B {
		from.sent++
		w.sendOne(from, &send{user: from.user, content: string(content(from.user, from.sent, s.C)), key: key, shared: true})
	}
}

// sendOne sends a message, and notes what becomes of it.
func (w *world) sendOne(c *client, op *send) {
	attempt := w.note(op)
	w.senders.Go(func() {
		patience := longestSend
		if op.patience > 0 {
			patience = op.patience
		}
		ctx, cancel := context.WithTimeout(w.ctx, patience)
		defer cancel()
		got, err := c.Send(ctx, &chatpb.ChatMessage{Content: []byte(op.content), Type: chatpb.ChatMessage_Text}, op.key)
		w.mu.Lock()
		defer w.mu.Unlock()
		op.done, op.epoch, op.offset, op.again, op.err = true, got.Epoch, got.Offset, got.Duplicate, err
		if err == nil && (!op.again || !op.shared) {
			attempt.Return(got.Epoch, got.Offset, false)
		} else if err != nil && !errors.Is(err, chatclient.ErrUncertain) {
			attempt.Refuse()
		}
		switch {
		case err == nil && got.Duplicate:
			w.reached.add("send: acknowledged, its key was known")
		case err == nil:
			w.reached.add("send: acknowledged")
		case errors.Is(err, chatclient.ErrUncertain):
			w.reached.add("send: unknown outcome")
		case errors.Is(err, context.DeadlineExceeded):
			w.reached.add("send: given up before it began")
		default:
			w.reached.add("send: refused with " + connect.CodeOf(err).String())
		}
	})
}

// note notes a send that begins.
func (w *world) note(op *send) *linear.Append {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sends = append(w.sends, op)
	key := op.key
	if key != "" {
		key = op.user + "/" + key
	}
	return w.history.Append(op.user+": "+op.content, key)
}

// flood publishes messages in a server's process.
func (w *world) flood(s step) {
	srv, ok := w.up(s.A)
	if !ok {
		return
	}
	w.floods++
	service, from := srv.service, fmt.Sprintf("flood%d", w.floods)
	w.senders.Go(func() {
		w.flooding.Add(1)
		defer w.flooding.Add(-1)
		for n := range s.B {
			op := &send{user: "system", content: string(content(from, n, s.C)), done: true}
			attempt := w.note(op)
			ctx, cancel := context.WithTimeout(w.ctx, longestPublish)
			got, err := service.Publish(ctx, chatsvc.User{Name: op.user}, &chatpb.ChatMessage{Content: []byte(op.content), Type: chatpb.ChatMessage_Text})
			cancel()
			w.mu.Lock()
			op.epoch, op.offset, op.err = got.Epoch, got.Offset, err
			if err == nil {
				attempt.Return(got.Epoch, got.Offset, false)
			} else {
				op.err = fmt.Errorf("%w: %w", chatclient.ErrUncertain, err)
			}
			w.mu.Unlock()
			if err != nil {
				w.reached.add("send: publish fails")
				return
			}
			w.reached.add("send: published")
		}
	})
}
