package peer

import (
	"context"
	"errors"
	"sync"
	"time"

	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// hub is the chat of the connect-go and grpc-go peers. Each subscriber has a channel.
type hub struct {
	mu      sync.Mutex // guards all below; held while a message is handed out, so that all see one order
	history []*chatpb.ChatMessage
	subs    map[*mailbox]struct{}
}

// mailbox is a subscriber's channel. The batches in it are shared by all.
type mailbox struct {
	batches chan *chatpb.ChatMessages
	cut     chan struct{} // closed if the subscriber was too slow
}

const (
	// hubHistory is how many messages are retained, as simplechat does.
	hubHistory = 10_000
	// mailboxSize is how many messages wait for a subscriber.
	mailboxSize = 256
	// hubPatience is how long senders wait for a subscriber whose channel is full. A hub
	// that drops messages would lose some under load, and one that waits for ever would stop
	// for one stuck client.
	hubPatience = 30 * time.Second
)

var errSlow = errors.New("too slow")

func newHub() *hub { return &hub{subs: make(map[*mailbox]struct{})} }

// publish hands a message to all subscribers.
func (h *hub) publish(from string, m *chatpb.ChatMessage) {
	timestamp := m.GetTimestamp()
	if timestamp == 0 {
		timestamp = uint64(time.Now().UnixMilli())
	}
	stored := &chatpb.ChatMessage{Timestamp: timestamp, Content: m.GetContent(), Type: m.GetType(), From: from}
	batch := &chatpb.ChatMessages{Messages: []*chatpb.ChatMessage{stored}}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.history = append(h.history, stored); len(h.history) > 2*hubHistory {
		h.history = append([]*chatpb.ChatMessage(nil), h.history[hubHistory:]...)
	}
	for box := range h.subs {
		select {
		case box.batches <- batch:
		default:
			h.insist(box, batch)
		}
	}
}

// insist waits for room in a full channel.
func (h *hub) insist(box *mailbox, batch *chatpb.ChatMessages) {
	timer := time.NewTimer(hubPatience)
	defer timer.Stop()
	select {
	case box.batches <- batch:
	case <-timer.C:
		close(box.cut)
		delete(h.subs, box)
	}
}

// subscribe calls send with the history, or without if it is not wanted, then
// with each new message, until ctx is done or send fails.
func (h *hub) subscribe(ctx context.Context, onlyNew bool, send func(*chatpb.ChatMessages) error) error {
	box := &mailbox{batches: make(chan *chatpb.ChatMessages, mailboxSize), cut: make(chan struct{})}
	first := &chatpb.ChatMessages{}
	h.mu.Lock()
	if !onlyNew {
		first.Messages = append(first.Messages, h.history[max(0, len(h.history)-hubHistory):]...)
	}
	h.subs[box] = struct{}{}
	h.mu.Unlock()
	defer h.leave(box)
	for batch := first; ; {
		if err := send(batch); err != nil {
			return err
		}
		select {
		case batch = <-box.batches:
		case <-box.cut:
			return errSlow
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// leave removes a subscriber. It empties the channel until the lock is free, so
// that a sender that waits for room continues.
func (h *hub) leave(box *mailbox) {
	left := make(chan struct{})
	go func() {
		h.mu.Lock()
		delete(h.subs, box)
		h.mu.Unlock()
		close(left)
	}()
	for {
		select {
		case <-box.batches:
		case <-left:
			return
		}
	}
}
