package tui

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"connectrpc.com/connect"

	"example.com/simplechat/chatsvc/chatclient"
	chatpb "example.com/simplechat/gen/qtgrpc/examples/chat"
)

// Conversation is the connection to a server as one user, as [chatclient.Client] is. Its
// methods are called concurrently.
type Conversation interface {
	Follow(ctx context.Context, from chatclient.Position, yield func(chatclient.Event) error) error
	Read(ctx context.Context, from, until chatclient.Position, yield func(chatclient.Event) error) error
	Send(ctx context.Context, msg *chatpb.ChatMessage, key string) (chatclient.Sent, error)
}

const (
	// inboxSize bounds the events that wait for the screen: each message has at most a few MiB.
	inboxSize = 16
	// maxPageBytes bounds the content of a page of older messages, of which the newest are kept.
	maxPageBytes = 8 << 20
	// maxReasonWidth is the widest reason of a failure in cells.
	maxReasonWidth = 200
)

// session is a conversation for as long as the user is logged in.
type session struct {
	name   string
	chat   Conversation
	ctx    context.Context //nolint:containedctx // the session is what it bounds
	cancel context.CancelFunc
	inbox  chan any // chatclient.Event, interruption, history, restarted or ended
}

// interruption says that the stream is broken, and when the next attempt is due.
type interruption struct {
	err error
	due time.Time
}

// history says that the messages below end come first, which are not new.
type history struct{ end uint64 }

// restarted says that the log is another one. Its last messages come next.
type restarted struct{}

// ended says that following has failed for good.
type ended struct{ err error }

// batchMsg is what has come for a session.
type batchMsg struct {
	session *session
	events  []any
}

// errNewEpoch ends a stream whose position has become meaningless.
var errNewEpoch = errors.New("the log is another one")

// newSession logs in. Nothing is sent before run.
func newSession(ctx context.Context, login LoginFunc, name, password string) (*session, error) {
	s := &session{name: name, inbox: make(chan any, inboxSize)}
	s.ctx, s.cancel = context.WithCancel(ctx)
	chat, err := login(s.ctx, name, password, func(r chatclient.Retry) {
		if r.IsFollow { // the state of the stream is what the screen shows
			s.put(interruption{r.Err, time.Now().Add(r.Pause)})
		}
	})
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.chat = chat
	return s, nil
}

// put hands on an event to the screen, which may take its time.
func (s *session) put(event any) {
	select {
	case s.inbox <- event:
	case <-s.ctx.Done():
	}
}

// run returns the command that follows the conversation until the session ends, from a
// position on. Without one, and in a new epoch, it begins with the last messages.
func (s *session) run(from chatclient.Position) tea.Cmd {
	return func() tea.Msg {
		err := s.follow(from)
		for errors.Is(err, errNewEpoch) {
			s.put(restarted{})
			err = s.follow(chatclient.Last(openWith))
		}
		s.put(ended{err})
		return nil
	}
}

// follow hands on what comes from a position on, until there is another epoch or the stream
// ends for good.
func (s *session) follow(from chatclient.Position) error {
	if _, _, exact := from.Offset(); !exact {
		var epoch string
		var end uint64
		err := s.chat.Follow(s.ctx, chatclient.End(), func(e chatclient.Event) error {
			epoch, end = e.Epoch, e.Offset
			return errEnough
		})
		if !errors.Is(err, errEnough) {
			return err
		}
		s.put(history{end})
		from = chatclient.At(epoch, end-min(end-1, openWith))
	}
	return s.chat.Follow(s.ctx, from, func(e chatclient.Event) error {
		if e.NewEpoch {
			return errNewEpoch
		}
		s.put(e)
		return nil
	})
}

// receive returns what has come since the last call: at least one event, unless the session
// has ended.
func (s *session) receive() tea.Msg {
	batch := batchMsg{session: s}
	select {
	case event := <-s.inbox:
		batch.events = append(batch.events, event)
	case <-s.ctx.Done():
		return nil
	}
	for len(batch.events) < inboxSize {
		select {
		case event := <-s.inbox:
			batch.events = append(batch.events, event)
		default:
			return batch
		}
	}
	return batch
}

// pageMsg is a part of the history.
type pageMsg struct {
	session     *session
	epoch       string
	from, until uint64 // what was asked for
	newer       bool   // it follows what is in memory
	first, next uint64 // the records
	records     []*chatpb.ChatMessage
	cut         bool // they are not all that are retained
	err         error
}

// read returns the command that reads [from, until). If it is too much for the memory, the
// records at the end are the ones that it returns, or those at the beginning if newer is true.
func (s *session) read(epoch string, from, until uint64, newer bool) tea.Cmd {
	return func() tea.Msg {
		p := pageMsg{session: s, epoch: epoch, from: from, until: until, newer: newer, first: from, next: from}
		bytes := 0
		p.err = s.chat.Read(s.ctx, chatclient.At(epoch, from), chatclient.At(epoch, until), func(e chatclient.Event) error {
			if e.Message == nil {
				if len(p.records) == 0 {
					p.first, p.next = e.Offset, e.Offset
				}
				return nil
			}
			if newer && len(p.records) > 0 && bytes+len(e.Message.GetContent()) > maxPageBytes {
				return errEnough
			}
			bytes += len(e.Message.GetContent())
			p.records = append(p.records, e.Message)
			p.next = e.Offset + 1
			for len(p.records) > 1 && bytes > maxPageBytes {
				bytes -= len(p.records[0].GetContent())
				p.records, p.cut = p.records[1:], true
			}
			p.first = p.next - uint64(len(p.records))
			return nil
		})
		if errors.Is(p.err, errEnough) {
			p.err = nil
		}
		return p
	}
}

var errEnough = errors.New("that was all that is needed")

// reason returns why a call has failed, for the user.
func reason(err error) string {
	text := err.Error()
	if coded := new(connect.Error); errors.As(err, &coded) {
		text = coded.Message()
	}
	if dial := new(net.OpError); errors.As(err, &dial) {
		text = dial.Err.Error()
		if call := new(os.SyscallError); errors.As(dial.Err, &call) {
			text = call.Err.Error()
		}
	}
	return cleanLine(text, maxReasonWidth)
}
