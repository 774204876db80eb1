package tui

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	tea "charm.land/bubbletea/v2"
	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// outbox holds the user's messages until they have come back on the stream. They are sent
// one after the other, so that they keep their order.
type outbox struct {
	entries []*entry
	mail    map[*entry]*outgoing
	sending *entry // the one on its way
}

// outgoing is a message that is not in the conversation yet.
type outgoing struct {
	key   string // the idempotency key of all attempts
	name  string // whose message it is
	state sendState
	sent  chatclient.Sent // where it is, when it was sent
}

type sendState int

const (
	waiting sendState = iota
	underWay
	acknowledged
	refused
)

// sentMsg is the outcome of a send.
type sentMsg struct {
	session *session
	entry   *entry
	sent    chatclient.Sent
	err     error
}

// add appends a message of a user.
func (o *outbox) add(name string, msg *chatpb.ChatMessage, now time.Time) {
	e := &entry{at: now, own: true, msg: msg, status: "sending…"}
	if msg.GetType() == chatpb.ChatMessage_Image {
		e.pic = newPicture(msg.GetContent())
	}
	if o.mail == nil {
		o.mail = make(map[*entry]*outgoing)
	}
	o.entries = append(o.entries, e)
	o.mail[e] = &outgoing{key: rand.Text(), name: name}
}

// send returns the command that sends the next message, or nil if one is on its way or none
// is waiting.
func (o *outbox) send(s *session) tea.Cmd {
	if s == nil || o.sending != nil {
		return nil
	}
	i := slices.IndexFunc(o.entries, func(e *entry) bool { return o.mail[e].state == waiting })
	if i < 0 {
		return nil
	}
	e := o.entries[i]
	mail := o.mail[e]
	o.sending, mail.state = e, underWay
	return func() tea.Msg {
		sent, err := s.chat.Send(s.ctx, e.msg, mail.key)
		return sentMsg{s, e, sent, err}
	}
}

// sent notes the outcome of a send.
func (o *outbox) sent(msg sentMsg) {
	if o.sending == msg.entry {
		o.sending = nil
	}
	mail := o.mail[msg.entry]
	switch {
	case mail == nil: // it has come back already
	case msg.err == nil:
		mail.state, mail.sent = acknowledged, msg.sent
	case errors.Is(msg.err, context.Canceled) && !errors.Is(msg.err, chatclient.ErrUncertain):
		mail.state = waiting // for the next session
	case connect.CodeOf(msg.err) == connect.CodeResourceExhausted: // too large, or the server's disk is full
		o.fail(msg.entry, fmt.Sprintf("refused: %s. Ctrl+R sends it again, /drop removes it", reason(msg.err)))
	case errors.Is(msg.err, chatclient.ErrUncertain):
		o.fail(msg.entry, fmt.Sprintf("not known whether it was sent (%s): look for it before you press Ctrl+R", reason(msg.err)))
	default:
		o.fail(msg.entry, fmt.Sprintf("not sent: %s. Ctrl+R sends it again, /drop removes it", reason(msg.err)))
	}
}

// fail marks a message as not sent.
func (o *outbox) fail(e *entry, status string) {
	o.mail[e].state = refused
	e.failed, e.status = true, status
}

// login is told of the user's name: what was written as another user is not sent as this one.
func (o *outbox) login(name string) {
	for e, mail := range o.mail {
		if mail.name != name && mail.state == waiting {
			o.fail(e, fmt.Sprintf("not sent: it was written as %s. Ctrl+R sends it as %s, /drop removes it",
				cleanLine(mail.name, maxNameWidth), cleanLine(name, maxNameWidth)))
		}
	}
}

// retry makes all messages wait that were not sent.
func (o *outbox) retry(name string) {
	for e, mail := range o.mail {
		if mail.state == refused {
			mail.state, mail.name = waiting, name
			e.failed, e.status = false, "sending…"
		}
	}
}

// drop removes the messages that were not sent, and returns how many.
func (o *outbox) drop() int {
	return o.remove(func(mail *outgoing) bool { return mail.state == refused })
}

// arrived removes the messages that are in the window.
func (o *outbox) arrived(w *window) {
	o.remove(func(mail *outgoing) bool {
		return mail.state == acknowledged && (mail.sent.Epoch != w.epoch || mail.sent.Offset < w.end)
	})
}

// unsent returns how many messages the server does not have, as far as known.
func (o *outbox) unsent() int {
	n := 0
	for _, mail := range o.mail {
		if mail.state != acknowledged {
			n++
		}
	}
	return n
}

func (o *outbox) remove(condition func(*outgoing) bool) int {
	before := len(o.entries)
	o.entries = slices.DeleteFunc(o.entries, func(e *entry) bool {
		if !condition(o.mail[e]) {
			return false
		}
		delete(o.mail, e)
		return true
	})
	return before - len(o.entries)
}
